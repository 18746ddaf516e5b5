"""Entities that Telegram finds by itself in any text: commands, links, addresses, names and tags."""

from __future__ import annotations

import re
from collections.abc import Iterator

from controller.sandbox.documents import Document

_KINDS = {
    "url": re.compile(r"\b(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?')\]}*_~]", re.IGNORECASE),
    "email": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b", re.IGNORECASE),
    "bot_command": re.compile(r"(?<![\w/:<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/])"),
    "mention": re.compile(r"(?<![\w@/])@[A-Za-z][A-Za-z0-9_]{3,31}\b"),
    "hashtag": re.compile(r"(?<![\w#&/])#(?=\w*[^\W\d_])\w{1,256}"),
}
_CLOSED = frozenset({"code", "pre", "text_link", "text_mention", "custom_emoji"})
"""Inside these nothing is looked for."""


def units(text: str) -> int:
    """Length in UTF-16 code units, as Telegram counts."""
    return len(text.encode("utf-16-le")) // 2


def spotted(text: str, given: list[Document]) -> list[Document]:
    """``given`` with what is found besides, in order of appearance."""
    taken = [_span(entity) for entity in given if entity["type"] in _CLOSED]
    found = list(given)
    for entity in _found(text):
        start, end = _span(entity)
        if all(end <= other or start >= until for other, until in taken):
            taken.append((start, end))
            found.append(entity)
    return sorted(found, key=lambda entity: (entity["offset"], -entity["length"]))


def _found(text: str) -> Iterator[Document]:
    for kind, pattern in _KINDS.items():
        for match in pattern.finditer(text):
            yield {"type": kind, "offset": units(text[: match.start()]), "length": units(match[0])}


def _span(entity: Document) -> tuple[int, int]:
    return entity["offset"], entity["offset"] + entity["length"]
