"""``parse_mode`` HTML as Telegram reads it: its few tags and four named references, and a refusal for the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from controller.sandbox.documents import Document
from controller.sandbox.telegram.faults import bad_request
from controller.sandbox.telegram.spotting import units

KINDS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "code": "code", "pre": "pre",
    "a": "text_link", "blockquote": "blockquote", "tg-spoiler": "spoiler", "span": "spoiler",
    "tg-emoji": "custom_emoji",
}  # fmt: skip
"""Every tag that Telegram knows, and the entity that it makes."""
_REFERENCE = re.compile(r"&(?:(lt|gt|amp|quot)|#(\d{1,7})|#x([0-9a-f]{1,6}));?", re.IGNORECASE)
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_TAG = re.compile(r"<(/?)([^\s>]*)((?:\s+[^\s=>]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>]*))?)*)\s*>")
_NAME = re.compile(r"</?([^\s>]*)")
_ATTRIBUTE = re.compile(r"([^\s=>]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]*)))?")


def read(source: str) -> tuple[str, list[Document]]:
    """What the reader sees, and its entities. Raises Fault for HTML that Telegram refuses."""
    reader = _Reader(source)
    while reader.at < len(source):
        reader.step()
    if reader.open:
        _refuse(f'Can\'t find end tag corresponding to start tag "{reader.open[-1].tag}"')
    return "".join(reader.parts), reader.entities


@dataclass
class _Open:
    tag: str
    given: dict[str, str]
    start: int
    first_part: int


class _Reader:
    def __init__(self, source: str) -> None:
        self.source, self.at = source, 0
        self.parts: list[str] = []
        self.seen = 0
        self.entities: list[Document] = []
        self.open: list[_Open] = []

    def step(self) -> None:
        if self.source[self.at] == "<":
            self._tag()
            return
        until = self.source.find("<", self.at)
        until = len(self.source) if until < 0 else until
        self._write(_decoded(self.source[self.at : until]))
        self.at = until

    def _write(self, text: str) -> None:
        self.parts.append(text)
        self.seen += units(text)

    def _tag(self) -> None:
        offset = len(self.source[: self.at].encode())
        match = _TAG.match(self.source, self.at)
        if match is None:
            begun = _NAME.match(self.source, self.at)
            tag = begun[1].lower() if begun else ""
            _refuse(f'{"Unclosed" if tag in KINDS else "Unsupported"} start tag "{tag}" at byte offset {offset}')
        self.at = match.end()
        closing, name, attributes = match[1], match[2].lower(), match[3]
        if closing:
            self._close(name, offset)
            return
        given = {key.lower(): _decoded(a or b or c) for key, a, b, c in _ATTRIBUTE.findall(attributes)}
        if name not in KINDS:
            _refuse(f'Unsupported start tag "{name}" at byte offset {offset}')
        if name == "span" and given.get("class") != "tg-spoiler":
            _refuse(f'Tag "span" must have class "tg-spoiler" at byte offset {offset}')
        self.open.append(_Open(name, given, self.seen, len(self.parts)))

    def _close(self, name: str, offset: int) -> None:
        if not self.open:
            _refuse(f"Unexpected end tag at byte offset {offset}")
        opened = self.open.pop()
        if name not in ("", opened.tag):
            _refuse(f'Unmatched end tag at byte offset {offset}, expected "</{opened.tag}>", found "</{name}>"')
        entity = _entity(opened, "".join(self.parts[opened.first_part :]), self.open[-1] if self.open else None)
        if entity and self.seen > opened.start:
            where = {"offset": opened.start, "length": self.seen - opened.start}
            self.entities.append({"type": entity.pop("type")} | where | entity)


def _entity(opened: _Open, text: str, around: _Open | None) -> Document | None:
    tag, given = opened.tag, opened.given
    kind: Document = {"type": KINDS[tag]}
    if tag == "a":
        address = given.get("href") or text
        return kind | {"url": address} if re.match(r"(?:https?|tg|ton)://|mailto:", address) else None
    if tag == "tg-emoji":
        return kind | {"custom_emoji_id": given.get("emoji-id", "")}
    if tag == "blockquote" and "expandable" in given:
        return {"type": "expandable_blockquote"}
    if tag == "code" and around and around.tag == "pre":
        # <pre><code class="language-x"> is one block; the outer tag makes it.
        around.given["language"] = given.get("class", "").removeprefix("language-")
        return None
    return kind | {"language": given["language"]} if tag == "pre" and given.get("language") else kind


def _decoded(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        if match[1]:
            return _NAMED.get(match[1].lower(), match[0])
        code = int(match[2]) if match[2] else int(match[3], 16)
        return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else match[0]

    return _REFERENCE.sub(character, text)


def _refuse(why: str) -> NoReturn:
    raise bad_request(f"can't parse entities: {why}")
