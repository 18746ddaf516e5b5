"""A chat as its page shows it: entities become markup, messages become bubbles."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from markupsafe import Markup

from controller.sandbox.documents import Document

_WRAPS = {
    "bold": "b", "italic": "i", "underline": "u", "strikethrough": "s", "code": "code", "pre": "pre",
    "blockquote": "blockquote", "expandable_blockquote": "blockquote",
}  # fmt: skip
_BLOCKS = frozenset({"pre", "blockquote", "expandable_blockquote"})
_SAFE = frozenset({"http", "https", "mailto", "tg", "ton", "tel"})
# A name, a colon and no port: "x.example:8080" has no scheme.
_SCHEME = re.compile(r"[a-z][a-z0-9+-]*:(?!\d)", re.IGNORECASE)
_BOT = re.compile(r"@?[A-Za-z][A-Za-z0-9_]{1,28}bot", re.IGNORECASE)
_OPENABLE = ("photo", "document", "video", "animation", "audio", "voice")


def readable(text: str, entities: list[Document]) -> Markup:
    """The text with its entities as safe HTML; an entity that crosses another ends with it."""
    raw = text.encode("utf-16-le")
    ordered = sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))
    return _between(raw, 0, len(raw) // 2, ordered)


def local(address: str) -> str:
    """Where a link leads from here: to Telegram's own places on this stand-in, else as it says.

    An address that a browser would run or that has no scheme we know leads nowhere.
    """
    try:
        target = urlsplit(address if _SCHEME.match(address) else f"https://{address}")
    except ValueError:
        return "#"
    if target.scheme not in _SAFE:
        return "#"
    if target.hostname in ("t.me", "telegram.me"):
        return target.path + (f"?{target.query}" if target.query else "")
    return target.geturl()


def bubble(message: Document, files: str) -> Document:
    """What the page needs of one message; ``files`` is the address below which its file is."""
    own = message.get("_own")
    text, entities = message.get("text"), message.get("entities", [])
    if text is None:
        text, entities = message.get("caption", ""), message.get("caption_entities", [])
    moment = datetime.fromtimestamp(message["date"], UTC)
    markup = message.get("reply_markup") or {}
    return {
        "id": message["message_id"],
        "own": own is None,
        "html": readable(text, entities),
        "iso": moment.isoformat(),
        "time": moment.strftime("%H:%M"),
        "edited": bool(own and own["edited"]),
        "rows": [[_button(button) for button in row] for row in markup.get("inline_keyboard", [])],
        "reaction": message.get("_reaction"),
        "reply": _quoted(message.get("reply_to_message")),
        "file": _file(message, files),
        "service": _service(message),
    }


def _between(raw: bytes, start: int, end: int, entities: list[Document]) -> Markup:
    parts, at = [], start
    rest = [entity for entity in entities if start <= entity["offset"] < end]
    while rest:
        entity = rest.pop(0)
        first = max(entity["offset"], at)
        last = min(entity["offset"] + entity["length"], end)
        if first >= last:
            continue
        inside = [one for one in rest if one["offset"] < last]
        rest = rest[len(inside) :]
        parts += [
            _plain(raw, at, first),
            _wrapped(entity, _between(raw, first, last, inside), _plain(raw, first, last)),
        ]
        # A block stands on lines of its own: the break behind it is not shown twice.
        is_block = entity["type"] in _BLOCKS and raw[2 * last : 2 * last + 2] == "\n".encode("utf-16-le")
        at = last + 1 if is_block and last < end else last
    return Markup().join([*parts, _plain(raw, at, end)])


def _plain(raw: bytes, start: int, end: int) -> Markup:
    return Markup.escape(raw[2 * start : 2 * end].decode("utf-16-le", errors="replace"))


def _wrapped(entity: Document, inner: Markup, plain: Markup) -> Markup:
    kind, text = entity["type"], plain.unescape()
    if kind in _WRAPS:
        return Markup("<{0}>{1}</{0}>").format(_WRAPS[kind], inner)
    if kind == "spoiler":
        return Markup('<span class="spoiler" tabindex="0">{}</span>').format(inner)
    if kind == "bot_command":
        # A press sends the command, as in Telegram.
        return Markup('<button class="command" form="say" name="text" value="{}">{}</button>').format(text, inner)
    address = {"url": text, "text_link": entity.get("url", ""), "email": f"mailto:{text}"}.get(kind)
    if kind == "mention" and _BOT.fullmatch(text):
        address = f"https://t.me/{text[1:]}"
    if address is None:
        return inner
    return Markup('<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>').format(local(address), inner)


def _button(button: Document) -> Document:
    app = (button.get("web_app") or button.get("login_url") or {}).get("url")
    address = button.get("url") or app
    return {
        "text": button["text"],
        "data": button.get("callback_data"),
        "href": local(address) if address else None,
        "copy": (button.get("copy_text") or {}).get("text"),
    }


def _quoted(message: Document | None) -> str | None:
    return None if message is None else str(message.get("text") or message.get("caption") or "…")[:80]


def _file(message: Document, files: str) -> Document | None:
    kind = next((name for name in _OPENABLE if name in message), None)
    if kind is None:
        return None
    shown = message[kind][-1] if kind == "photo" else message[kind]
    size = shown["file_size"]
    return {
        "kind": "photo" if kind == "photo" or shown.get("mime_type") == "image/gif" else kind,
        "href": f"{files}/{quote(shown['file_id'], safe='')}",
        "name": shown.get("file_name"),
        "size": f"{size / 1024 / 1024:.1f} MB" if size >= 1024 * 1024 else f"{max(size // 1024, 1)} KB",
    }


def _service(message: Document) -> tuple[str, str] | None:
    """A word's key and what stands beside it, for what is no message of words."""
    if created := message.get("managed_bot_created"):
        return "made", f"@{created['bot']['username']}"
    if shared := message.get("users_shared"):
        return "shared_users", ", ".join(str(one["user_id"]) for one in shared["users"])
    if "contact" in message:
        return "shared_contact", ""
    return None
