"""Field validation: the fields and types of Kubernetes' own kinds, as the official client's models have them."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from controller.core.errors import Refused
from controller.sandbox.cluster.resources import Kind, Object

STRICT, WARN, IGNORE = LEVELS = ("Strict", "Warn", "Ignore")
_HOLDS = re.compile(r"(?P<holder>[Ll]ist\[|[Dd]ict[(\[]str, )(?P<inner>.+)[\])]")
_PLAIN: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}


class FieldsUnknown(Refused):
    """Raised when an object has fields that its kind does not know, or values of another type."""


async def check(kind: Kind, obj: Object, level: str) -> list[str]:
    """What is wrong with the object's fields, for a warning; nothing if ``level`` asks for no look, or is not given.

    Custom kinds keep what they do not know, so nothing is wrong with theirs. Raises FieldsUnknown if ``level`` is
    strict and something is wrong, Refused for a level that Kubernetes does not have.
    """
    if level and level not in LEVELS:
        raise Refused("field_validation_unknown", given=level[:40])
    if level in ("", IGNORE) or kind.custom:
        return []
    # The models are read as data, nothing of the client is used; loading them takes
    # seconds the first time, and nobody should wait for somebody else's validation
    models = await asyncio.to_thread(importlib.import_module, "kubernetes.client.models")
    wrong = list(_wrong(models, f"V1{kind.kind}", obj, ""))
    if wrong and level == STRICT:
        raise FieldsUnknown("fields_unknown", sentence=f"strict decoding error: {', '.join(wrong)}")
    return wrong


def _wrong(models: ModuleType, type_: str, value: Any, path: str) -> Iterator[str]:
    if value is None:
        return
    if held := _HOLDS.fullmatch(type_):
        yield from _wrong_items(models, held, value, path)
        return
    model = getattr(models, type_, None)
    if model is None:
        if type_ in _PLAIN and (not isinstance(value, _PLAIN[type_]) or (type_ == "int" and isinstance(value, bool))):
            yield f'field "{path}" must be of type {type_}'
        return
    if not isinstance(value, dict):
        yield f'field "{path}" must be an object'
        return
    types = {name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()}
    for name, inner in value.items():
        full = f"{path}.{name}" if path else name
        if name in types:
            yield from _wrong(models, types[name], inner, full)
        else:
            yield f'unknown field "{full}"'


def _wrong_items(models: ModuleType, held: re.Match[str], value: Any, path: str) -> Iterator[str]:
    many = held["holder"].lower() == "list["
    if not isinstance(value, list if many else dict):
        yield f'field "{path}" must be {"a list" if many else "an object"}'
        return
    items: Iterable[tuple[object, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in items:
        # quantities are text here and may be numbers there: only models are looked into
        if held["inner"] not in _PLAIN:
            yield from _wrong(models, held["inner"], inner, f"{path}[{name}]" if many else f"{path}.{name}")
