"""The methods with which a bot writes, changes and takes back messages."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.telegram import buttons, files, formatting, messages, people
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import bad_request
from controller.sandbox.telegram.params import Params

ACTIONS = frozenset(
    {
        "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
        "choose_sticker", "find_location", "record_video_note", "upload_video_note",
    }
)  # fmt: skip
REACTIONS = frozenset(
    {
        *"👍👎❤🔥🥰👏😁🤔🤯😱🤬😢🎉🤩🤮💩🙏👌🕊🤡🥱🥴😍🐳🌚🌭💯🤣⚡🍌🏆💔🤨😐🍓🍾💋🖕😈😴😭🤓👻👀🎃🙈😇😨🤝✍🤗🫡🎅🎄☃💅🤪🗿🆒💘🙉🦄😘💊🙊😎👾🤷😡",
        "❤\u200d🔥", "👨\u200d💻", "🤷\u200d♂", "🤷\u200d♀",
    }
)  # fmt: skip
"""The emoji that may be a reaction."""
MOST_DELETED = 100
_UNCHANGED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a"
    " current content and reply markup of the message"
)


def send_message(town: Town, bot: Document, params: Params) -> Document:
    """The bot's new message in a private chat."""
    return _send(town, bot, params, lambda: formatting.written(params))


def send_file(field: str) -> Callable[[Town, Document, Params], Document]:
    """The method that sends a file of this kind."""

    def method(town: Town, bot: Document, params: Params) -> Document:
        return _send(town, bot, params, lambda: _file(town, bot, params, field))

    return method


def send_media_group(town: Town, bot: Document, params: Params) -> list[Document]:
    """Two to ten files as one album."""
    album = params.json("media")
    if not isinstance(album, list) or not 2 <= len(album) <= 10 or not all(isinstance(one, dict) for one in album):
        raise bad_request("media must be an Array of 2-10 InputMedia objects")
    group = str(secrets.randbits(60))
    sent = []
    for one in album:
        field = one.get("type")
        if field not in files.KINDS:
            raise bad_request("can't parse InputMedia: unsupported type")
        own = {"caption": None, "parse_mode": None, "caption_entities": None, "reply_markup": None} | one
        asked = params.with_values(**own, **{field: one.get("media")})
        sent.append(_send(town, bot, asked, lambda a=asked, f=field: _file(town, bot, a, f), media_group_id=group))  # type: ignore[misc]
    return sent


def edit_message_text(town: Town, bot: Document, params: Params) -> Document:
    """The bot's message with another text."""
    message = _own_message(town, bot, params)
    if message.get("media"):
        raise bad_request("there is no text in the message to edit")
    written = formatting.written(params) | {"reply_markup": buttons.markup(bot, params)}
    return _edited(town, bot, message, written)


def edit_message_caption(town: Town, bot: Document, params: Params) -> Document:
    """The bot's file with another caption."""
    message = _own_message(town, bot, params)
    if not message.get("media"):
        raise bad_request("there is no caption in the message to edit")
    return _edited(town, bot, message, formatting.captioned(params) | {"reply_markup": buttons.markup(bot, params)})


def edit_message_reply_markup(town: Town, bot: Document, params: Params) -> Document:
    """The bot's message with other buttons, or without any."""
    message = _own_message(town, bot, params)
    written = {"reply_markup": buttons.markup(bot, params)}
    if message["reply_markup"] == written["reply_markup"]:
        raise bad_request(_UNCHANGED)
    return messages.shown(town, bot, messages.rewrite(town, bot, message | written | _now()))


def delete_message(town: Town, bot: Document, params: Params) -> bool:
    """The message, the bot's or the person's, is gone."""
    messages.delete(town, bot, people.chat(town, bot, params.get("chat_id")), params.get("message_id"))
    return True


def delete_messages(town: Town, bot: Document, params: Params) -> bool:
    """Those of the messages that were there are gone."""
    chat = people.chat(town, bot, params.get("chat_id"))
    numbers = params.json("message_ids")
    if not isinstance(numbers, list) or not 1 <= len(numbers) <= MOST_DELETED:
        raise bad_request("message identifiers are not specified")
    for number in numbers:
        if messages.written(town, bot, chat["id"], number) is not None:
            messages.delete(town, bot, chat, number)
    return True


def send_chat_action(town: Town, bot: Document, params: Params) -> bool:
    """The person sees that the bot is busy, for five seconds or until its next message."""
    chat = people.chat(town, bot, params.get("chat_id"))
    action = params.text("action")
    if action not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    town.typing.begin(bot, chat["id"], action)
    return True


def set_message_reaction(town: Town, bot: Document, params: Params) -> bool:
    """The bot's one reaction to the message, or none for an empty list."""
    chat = people.chat(town, bot, params.get("chat_id"))
    message = messages.written(town, bot, chat["id"], params.get("message_id"))
    if message is None:
        raise bad_request("message to react not found")
    chosen = params.json("reaction") or []
    if not isinstance(chosen, list) or len(chosen) > 1:
        raise bad_request("REACTIONS_TOO_MANY")
    # Some spell ❤ with the selector that makes it red.
    emoji = str(chosen[0].get("emoji", "")).replace("\ufe0f", "") if chosen else None
    if emoji is not None and emoji not in REACTIONS:
        raise bad_request("REACTION_INVALID")
    messages.react(town, bot, message, emoji)
    return True


def _send(town: Town, bot: Document, params: Params, content: Callable[[], Document], **more: Any) -> Document:
    chat = people.chat(town, bot, params.get("chat_id"))
    made = content() | {"reply_markup": buttons.markup(bot, params), "reply_to": _reply_to(town, bot, chat, params)}
    town.limits.take(bot, chat["id"])
    return messages.shown(town, bot, messages.send(town, bot, {"chat": chat, **made, **more}))


def _file(town: Town, bot: Document, params: Params, field: str) -> Document:
    return formatting.captioned(params) | {"media": files.media(town, bot, params, field)}


def _reply_to(town: Town, bot: Document, chat: Document, params: Params) -> int | None:
    answered = params.json("reply_parameters") or {}
    if not isinstance(answered, dict):
        raise bad_request("can't parse reply parameters JSON object")
    number = answered.get("message_id") or params.number("reply_to_message_id", 0)
    if not number:
        return None
    if messages.written(town, bot, chat["id"], number) is None:
        if answered.get("allow_sending_without_reply") or params.flag("allow_sending_without_reply"):
            return None
        raise bad_request("message to be replied not found")
    return int(number)


def _edited(town: Town, bot: Document, message: Document, written: Document) -> Document:
    if all(message[name] == written[name] for name in ("text", "entities", "reply_markup")):
        raise bad_request(_UNCHANGED)
    edited = message | written | {"edited": True} | _now()
    return messages.shown(town, bot, messages.rewrite(town, bot, edited))


def _own_message(town: Town, bot: Document, params: Params) -> Document:
    chat = people.chat(town, bot, params.get("chat_id"))
    message = messages.sent(town, bot, params.get("message_id"))
    if message is not None and message["chat"]["id"] == chat["id"]:
        return message
    theirs = messages.written(town, bot, chat["id"], params.get("message_id"))
    raise bad_request("message can't be edited" if theirs else "message to edit not found")


def _now() -> Document:
    return {"edit_date": int(clock.now().timestamp())}
