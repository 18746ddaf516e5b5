"""A long JSON object's top level, read without what its long values hold: a prompt is passed on, not looked into."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from proxy.words import Words

SHORT_BYTES = 4096
"""Below it everything is read: that costs less than to know what can be left out."""

_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SPACE = b" \t\r\n"
_KEY = re.compile(rb'[ \t\r\n]*(,?)[ \t\r\n]*"([^"\\]*)"[ \t\r\n]*:[ \t\r\n]*')
_DISGUISED = "disguised"
_DISGUISES = tuple(b"\\u00%d" % first for first in range(2, 8))
"""How a letter of ASCII can be written so that nobody finds it who looks for the letter."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A top level: each key with the text of its value, and with the groups of words that the text has."""

    values: dict[str, bytes]
    words: dict[str, set[str]]


class Outlines:
    """Reads top levels, and looks for words in their values, in groups with names."""

    def __init__(self, **words: Iterable[bytes]) -> None:
        self._words = Words(**{_DISGUISED: _DISGUISES}, **words)

    def read(self, raw: bytes) -> Outline | None:
        """The outline; None if the whole has to be read to be sure what it says.

        It is given only where every parser must come to the same: UTF-8, JSON throughout, each key once and spelled
        out, and no letter of ASCII in disguise anywhere.
        """
        if len(raw) < SHORT_BYTES or not _is_utf8(raw):
            return None
        try:
            values = {key: bytes(value) for key, value in _DECODER.decode(raw).items()}
        except (msgspec.DecodeError, RecursionError):
            return None
        if not _spells(raw, values):
            return None
        words = {key: self._words.seen(value) for key, value in values.items()}
        return None if any(_DISGUISED in seen for seen in words.values()) else Outline(values, words)


def _spells(raw: bytes, values: dict[str, bytes]) -> bool:
    """Whether ``raw`` is just these keys and values in this order, so that none of them stood there twice."""
    start = len(raw) - len(raw.lstrip(_SPACE))
    at = start + 1
    for place, (key, value) in enumerate(values.items()):
        found = _KEY.match(raw, at)
        if found is None or found[2] != key.encode() or bool(found[1]) != bool(place):
            return False
        at = found.end() + len(value)
        if raw[found.end() : at] != value:
            return False
    return raw[start : start + 1] == b"{" and raw[at:].strip(_SPACE) == b"}"


def _is_utf8(raw: bytes) -> bool:
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
