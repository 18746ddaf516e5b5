"""Label and field selectors as predicates over objects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from controller.core.errors import Invalid
from controller.sandbox.cluster.resources import Object

Selector = Callable[[Object], bool]
_Values = Callable[[str | None], bool]

_INVOLVED = ("kind", "name", "namespace", "uid", "apiVersion", "fieldPath", "resourceVersion")
_OF_PODS = ("status.phase", "status.podIP", "spec.nodeName", "spec.restartPolicy")
_OF_EVENTS = ("reason", "type", "reportingComponent", *(f"involvedObject.{name}" for name in _INVOLVED))
FIELDS = frozenset(["metadata.name", "metadata.namespace", *_OF_PODS, *_OF_EVENTS])
_KEY = r"(?P<key>[A-Za-z0-9./_-]+)"
_SET = re.compile(_KEY + r"\s+(?P<verb>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(_KEY + r"\s*(?P<verb>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)")
_EXISTS = re.compile(r"(?P<verb>!?)\s*" + _KEY)
_COMMA = re.compile(r",(?![^()]*\))")


def labels(text: str) -> Selector:
    """``a=b``, ``a!=b``, ``a``, ``!a``, ``a in (b,c)``, ``a notin (b,c)``, joined by commas; empty takes everything.

    Raises Invalid for any other text.
    """
    terms = [_term(part.strip()) for part in _COMMA.split(text) if part.strip()]

    def selected(obj: Object) -> bool:
        mine = obj["metadata"].get("labels") or {}
        return all(fits(mine.get(key)) for key, fits in terms)

    return selected


def fields(text: str) -> Selector:
    """Equality or inequality of the fields in ``FIELDS``, joined by commas; empty takes everything.

    Raises Invalid for another field or form: an API server refuses those too.
    """
    terms = [_field_term(part.strip()) for part in text.split(",") if part.strip()]
    return lambda obj: all(fits(_at(obj, key)) for key, fits in terms)


def _term(part: str) -> tuple[str, _Values]:
    if found := _SET.fullmatch(part):
        values = frozenset(value.strip() for value in found["values"].split(","))
        return found["key"], _one_of(values, wanted=found["verb"] == "in")
    if found := _EQUAL.fullmatch(part):
        return found["key"], _one_of(frozenset({found["value"]}), wanted=found["verb"] != "!=")
    if found := _EXISTS.fullmatch(part):
        present = not found["verb"]
        return found["key"], lambda value: (value is not None) == present
    raise Invalid("selector_malformed", selector=part[:80])


def _field_term(part: str) -> tuple[str, _Values]:
    found = _EQUAL.fullmatch(part)
    if found is None or found["key"] not in FIELDS:
        raise Invalid("field_selector_unknown", selector=part[:80])
    return found["key"], _one_of(frozenset({found["value"]}), wanted=found["verb"] != "!=")


def _one_of(values: frozenset[str], *, wanted: bool) -> _Values:
    return lambda value: (value in values) == wanted


def _at(obj: Object, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
