"""``parse_mode`` MarkdownV2, and the older Markdown, as Telegram reads them: text and entities, or a refusal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from controller.sandbox.documents import Document
from controller.sandbox.telegram.faults import bad_request
from controller.sandbox.telegram.spotting import units

_RESERVED = frozenset("_*[]()~`>#+-=|{}.!")
_PAIRS = {
    "```": "pre", "`": "code", "__": "underline", "_": "italic", "*": "bold", "~": "strikethrough", "||": "spoiler",
}  # fmt: skip
_NAMES = {
    "pre": "PreCode", "code": "Code", "underline": "Underline", "italic": "Italic", "bold": "Bold",
    "strikethrough": "Strikethrough", "spoiler": "Spoiler", "text_link": "TextUrl", "custom_emoji": "CustomEmoji",
}  # fmt: skip
_VERBATIM = frozenset({"pre", "code"})
_TARGET = re.compile(r"\(((?:[^()\\]|\\.)*)\)")
_OLD = re.compile(
    r"\\(?P<escaped>[_*`\[])|```(?P<language>[\w+-]*\n)?(?P<pre>.*?)```|`(?P<code>[^`]*)`|\*(?P<bold>[^*]*)\*"
    r"|_(?P<italic>[^_]*)_|\[(?P<link>[^\]]*)\](?:\((?P<url>[^)]*)\))?|(?P<lost>[_*`\[])",
    re.DOTALL,
)


@dataclass
class _Open:
    kind: str
    mark: str
    start: int
    offset: int
    language: str = ""


def read(source: str) -> tuple[str, list[Document]]:
    """What the reader of MarkdownV2 sees, and its entities. Raises Fault for what Telegram refuses."""
    reader = _Reader(source)
    while reader.at < len(source):
        reader.step()
    reader.end_quote(closed=False)
    if reader.open:
        last = reader.open[-1]
        _refuse(f"Can't find end of {_NAMES[last.kind]} entity at byte offset {last.offset}")
    return "".join(reader.parts), [one for one in reader.entities if one["length"]]


def read_old(source: str) -> tuple[str, list[Document]]:
    """The same for the older Markdown, whose entities do not nest."""
    parts, entities, seen, at = list[str](), list[Document](), 0, 0
    for match in _OLD.finditer(source):
        kind = str(match.lastgroup)
        if kind == "lost":
            offset = len(source[: match.start()].encode())
            _refuse(f"Can't find end of the entity starting at byte offset {offset}")
        before = source[at : match.start()]
        at = match.end()
        kind = "link" if match["link"] is not None else kind
        inner = match[kind] or ""
        parts += [before, inner]
        entity: Document = {"type": kind, "offset": seen + units(before), "length": units(inner)}
        if kind == "link":
            entity |= {"type": "text_link", "url": match["url"]}
        if inner and kind != "escaped" and entity.get("url", True):
            entities.append(entity)
        seen += units(before + inner)
    return "".join([*parts, source[at:]]), entities


class _Reader:
    def __init__(self, source: str) -> None:
        self.source, self.at = source, 0
        self.parts: list[str] = []
        self.seen = 0
        self.entities: list[Document] = []
        self.open: list[_Open] = []
        self.quoted: _Open | None = None

    def step(self) -> None:
        here = self.source[self.at]
        if here == "\\" and self.at + 1 < len(self.source) and ord(self.source[self.at + 1]) < 127:
            self._write(self.source[self.at + 1], taken=2)
        elif self.open and self.open[-1].kind in _VERBATIM:
            self._verbatim(self.open[-1])
        elif here == "\n":
            if not self.source.startswith(">", self.at + 1):
                self.end_quote(closed=False)
            self._write(here)
        elif here == ">" and (self.at == 0 or self.source[self.at - 1] == "\n"):
            self.quoted = self.quoted or _Open("blockquote", ">", self.seen, self._offset())
            self.at += 1
        elif here in _RESERVED:
            self._mark()
        else:
            self._write(here)

    def end_quote(self, *, closed: bool) -> None:
        if self.quoted:
            kind = "expandable_blockquote" if closed else "blockquote"
            length = self.seen - self.quoted.start
            self.entities.append({"type": kind, "offset": self.quoted.start, "length": length})
            self.quoted = None

    def _verbatim(self, last: _Open) -> None:
        if self.source.startswith(last.mark, self.at):
            self._close(last)
        else:
            self._write(self.source[self.at])

    def _mark(self) -> None:
        mark = next((one for one in _PAIRS if self.source.startswith(one, self.at)), self.source[self.at])
        last = self.open[-1] if self.open else None
        if mark == "||" and self.quoted and self.source[self.at + 2 : self.at + 3] in ("", "\n") and not last:
            self.at += 2
            self.end_quote(closed=True)
        elif last and mark == last.mark == "]":
            self._close_link(last)
        elif last and mark == last.mark:
            self._close(last)
        elif mark in _PAIRS:
            self._begin(_PAIRS[mark], mark, taken=len(mark))
        elif mark == "[":
            self._begin("text_link", "]", taken=1)
        elif self.source.startswith("![", self.at):
            self._begin("custom_emoji", "]", taken=2)
        else:
            _refuse(f"Character '{mark}' is reserved and must be escaped with the preceding '\\'")

    def _begin(self, kind: str, mark: str, *, taken: int) -> None:
        opened = _Open(kind, mark, self.seen, self._offset())
        self.open.append(opened)
        self.at += taken
        if kind == "pre" and (match := re.compile(r"([^\s`]*)\n").match(self.source, self.at)):
            opened.language = match[1]
            self.at = match.end()

    def _close(self, last: _Open, **more: str) -> None:
        self.at += len(last.mark)
        self.open.pop()
        entity: Document = {"type": last.kind, "offset": last.start, "length": self.seen - last.start, **more}
        self.entities.append(entity | ({"language": last.language} if last.language else {}))

    def _close_link(self, last: _Open) -> None:
        target = _TARGET.match(self.source, self.at + 1)
        address = re.sub(r"\\(.)", r"\1", target[1]) if target else ""
        if last.kind == "custom_emoji":
            self._close(last, custom_emoji_id=address.rpartition("=")[2])
        elif address:
            self._close(last, url=address)
        else:  # a bracket without an address is nothing but its text
            self._close(last)
            self.entities.pop()
        self.at = target.end() if target else self.at

    def _write(self, text: str, taken: int = 1) -> None:
        self.parts.append(text)
        self.seen += units(text)
        self.at += taken

    def _offset(self) -> int:
        return len(self.source[: self.at].encode())


def _refuse(why: str) -> NoReturn:
    raise bad_request(f"can't parse entities: {why}")
