"""Stripe's request encoding: nested form fields such as ``items[0][price]=…`` and ``expand[]=…``."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from controller.sandbox.stripe.faults import Fault

_NAME = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")


def decode(encoded: str) -> dict[str, Any]:
    """The nested fields; a level whose names are all numbers, or empty, is a list. Values stay strings.

    Raises Fault for a name that does not nest properly.
    """
    root: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        _place(root, _steps(name), value)
    return {name: _as_lists(value) for name, value in root.items()}


def _steps(name: str) -> list[str]:
    found = _NAME.match(name)
    if found is None:
        raise Fault(f"Invalid parameter name: {name[:64]}", code="parameter_invalid")
    return [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])]


def _place(level: dict[str, Any], steps: list[str], value: str) -> None:
    for step in steps[:-1]:
        inner = level.setdefault(step or str(len(level)), {})
        if not isinstance(inner, dict):
            raise Fault(f"Invalid nesting: {'.'.join(steps)[:64]}", code="parameter_invalid")
        level = inner
    level[steps[-1] or str(len(level))] = value


def _as_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_as_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _as_lists(inner) for key, inner in value.items()}
