"""The form in which we write box files, read and written quickly: ruamel takes ten times as long as git.

A file is taken for ours only if writing what was read gives the same bytes again. One that a person has commented
or laid out differently is not, and goes the slow way that keeps what they did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

# names that YAML 1.1 takes for a truth or for nothing are no names of ours
_NAME = rb"(?!(?i:y|n|yes|no|on|off|true|false|null):)[A-Za-z_]+"
_FORM = rb"( {0,8})(- )?(" + _NAME + rb'):(?: (?:("[A-Za-z0-9./_-]*")|([0-9]{1,18})|(\[\]|\{\})))?\n'
_LINE = re.compile(_FORM)
_OURS = re.compile(rb"(?:" + re.sub(rb"\((?!\?)", b"(?:", _FORM) + rb")+")


def read(content: bytes) -> dict[str, Any] | None:
    """What stands in ``content``; None if it is not in our form."""
    if not _OURS.fullmatch(content):
        return None
    document = _Reader(content).map(0)
    return document if write(document) == content else None


class _Reader:
    """Goes through lines of our form; what it makes of others is no matter, for they are not written so."""

    def __init__(self, content: bytes) -> None:
        self._lines = [
            (len(indent) + len(dash), bool(dash), name.decode(), _value(text, number, empty))
            for indent, dash, name, text, number, empty in _LINE.findall(content)
        ]
        self._lines.reverse()

    def map(self, depth: int) -> dict[str, Any]:
        """The map whose keys stand at ``depth``, read to its end, or to the next entry of a list."""
        made: dict[str, Any] = {}
        while self._lines and self._lines[-1][0] == depth and not (made and self._lines[-1][1]):
            _, _, name, value = self._lines.pop()
            made[name] = self._below(depth) if value is None else value
        return made

    def _below(self, depth: int) -> Any:
        if not self._starts_entry(depth + 2):
            return self.map(depth + 2)
        entries = []
        while self._starts_entry(depth + 2):
            entries.append(self.map(depth + 2))
        return entries

    def _starts_entry(self, depth: int) -> bool:
        return bool(self._lines) and self._lines[-1][:2] == (depth, True)


def _value(text: bytes, number: bytes, empty: bytes) -> Any:
    """The value on a line; None if the lines below it are the value."""
    if text:
        return text[1:-1].decode()
    if number:
        return int(number)
    return {b"[]": [], b"{}": {}}.get(empty)


def write(document: dict[str, Any]) -> bytes | None:
    """``document`` in our form: strings in quotes, a line for each value; None if it holds something that has no place.

    Only strings, integers, lists of maps, and maps do.
    """
    try:
        return "".join(f"{line}\n" for line in _map(document)).encode()
    except TypeError:
        return None


def _map(part: dict[str, Any]) -> Iterator[str]:
    for name, value in part.items():
        if isinstance(value, dict) and value:
            yield f"{name}:"
            yield from (f"  {line}" for line in _map(value))
        elif isinstance(value, list) and value:
            yield f"{name}:"
            for entry in value:
                yield from _entry(entry)
        else:
            yield f"{name}: {_scalar(value)}"


def _entry(part: Any) -> Iterator[str]:
    if not isinstance(part, dict) or not part:
        raise TypeError
    for number, line in enumerate(_map(part)):
        yield f"  {line}" if number else f"- {line}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return "[]"
    if type(value) is int:
        return str(value)
    raise TypeError
