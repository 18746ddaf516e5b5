"""A long JSON object's top level, read without what its long values hold: a prompt is passed on, not looked into."""

from __future__ import annotations

import re

import msgspec

SHORT_BYTES = 4096
"""Below it everything is read: that costs less than to know what can be left out."""

_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SPACE = b" \t\r\n"
_KEY = re.compile(rb'[ \t\r\n]*(,?)[ \t\r\n]*"([^"\\]*)"[ \t\r\n]*:[ \t\r\n]*')
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")


def read(raw: bytes) -> dict[str, bytes] | None:
    """Each key with the text of its value; None if the whole has to be read to be sure what it says.

    It is given only where every parser must come to the same: UTF-8, JSON throughout, each key once and spelled out,
    and no letter of ASCII in disguise anywhere.
    """
    if len(raw) < SHORT_BYTES or not _is_utf8(raw) or _ESCAPED_ASCII.search(raw):
        return None
    try:
        values = {key: bytes(value) for key, value in _DECODER.decode(raw).items()}
    except (msgspec.DecodeError, RecursionError):
        return None
    return values if _spells(raw, values) else None


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
