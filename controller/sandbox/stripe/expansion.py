"""``expand``: ids replaced by the objects they name."""

from __future__ import annotations

from typing import Any

from controller.sandbox.documents import Document
from controller.sandbox.stripe import checkout
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import KINDS, Ledger
from controller.sandbox.stripe.params import Listing

DEEPEST = 4


def expand(ledger: Ledger, answer: Document, paths: list[str]) -> Document:
    """The answer with each dotted path expanded; ``data.`` reaches into a list.

    Raises Fault for a path that names nothing that can be expanded.
    """
    for path in paths:
        steps = path.split(".")
        if len(steps) > DEEPEST:
            raise Fault("You cannot expand more than 4 levels of a property.", param="expand[0]")
        answer = _into(ledger, answer, steps, path)
    return answer


def _into(ledger: Ledger, value: Any, steps: list[str], path: str) -> Any:
    if isinstance(value, list):
        return [_into(ledger, each, steps, path) for each in value]
    if value is None or not steps:
        return value
    if not isinstance(value, dict):
        raise _impossible(path)
    name, *rest = steps
    if name == "line_items" and value.get("object") in ("checkout.session", "payment_link"):
        return value | {name: _into(ledger, checkout.line_items(ledger, Listing(), value["id"]), rest, path)}
    if name not in value:
        raise _impossible(path)
    inner = _named(ledger, value[name]) if isinstance(value[name], str) else value[name]
    if not isinstance(inner, (dict, list)) and inner is not None:
        raise _impossible(path)
    return value | {name: _into(ledger, inner, rest, path)}


def _named(ledger: Ledger, key: str) -> Document | None:
    kind = KINDS.get(key.partition("_")[0])
    return ledger.documents.get(kind, key) if kind else None


def _impossible(path: str) -> Fault:
    return Fault(f"This property cannot be expanded ({path[:64]}).", param="expand[0]")
