"""Filling in what a scripted answer quotes: the human's words, the tools' results, what a pattern found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_PLACE = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
_KNOWN = re.compile(r"human|result|results|recalled|match\.\d+")


def checked(text: str) -> str:
    """``text`` if each of its places is known. Raises ValueError otherwise."""
    for name in _PLACE.findall(text):
        if not _KNOWN.fullmatch(name):
            raise ValueError(f"unknown place {{{{{name}}}}}")
    return text


def check_all(value: Any) -> None:
    """Return if ``checked`` accepts every string in a JSON value."""
    fill_all(value, checked)


def fill(text: str, facts: Mapping[str, str]) -> str:
    """``text`` with its places filled; a fact that is not there is empty."""
    return _PLACE.sub(lambda place: facts.get(place[1], ""), text)


def fill_all(value: Any, change: Any) -> Any:
    """A JSON value with ``change`` applied to every string in it, keys apart."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [fill_all(one, change) for one in value]
    if isinstance(value, dict):
        return {key: fill_all(one, change) for key, one in value.items()}
    return value
