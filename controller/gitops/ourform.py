"""The form in which we write box files, read and written quickly: ruamel takes ten times as long as git.

A file is taken for ours only if writing what was read gives the same bytes again. One that a person has commented
or laid out differently is not, and goes the slow way that keeps what they did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

_LINE = rb' {0,8}(?:- )?[A-Za-z_]+:(?: (?:"[A-Za-z0-9./_-]*"|[0-9]{1,18}|\[\]|\{\}))?\n'
_OURS = re.compile(rb"(?:" + _LINE + rb")+")
# libyaml's where it is built in
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(content: bytes) -> dict[str, Any] | None:
    """What stands in ``content``; None if it is not in our form."""
    if not _OURS.fullmatch(content):
        return None
    try:
        document = yaml.load(content, _Loader)  # noqa: S506, a safe loader
    except yaml.YAMLError:
        return None
    return document if isinstance(document, dict) and write(document) == content else None


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
