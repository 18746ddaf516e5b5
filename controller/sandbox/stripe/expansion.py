"""``expand``: ids replaced by the objects they name."""

from __future__ import annotations

from typing import Any

from controller.sandbox.documents import Document
from controller.sandbox.stripe import checkout, payments
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger, kind_of
from controller.sandbox.stripe.params import Listing

DEEPEST = 4

_LISTS = {"payments": ("invoice", payments.of_invoice), "refunds": ("charge", payments.refunds_of)}
"""What an object shows of its kind's lists only when asked."""


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
    if name in _LISTS and value.get("object") == _LISTS[name][0]:
        return value | {name: _into(ledger, _LISTS[name][1](ledger, value["id"]), rest, path)}
    if name not in value:
        raise _impossible(path)
    return value | {name: _into(ledger, _found(ledger, name, value[name], path), rest, path)}


def _found(ledger: Ledger, name: str, value: Any, path: str) -> Any:
    if isinstance(value, list):
        return [_found(ledger, name, each, path) for each in value]
    if value is None or isinstance(value, dict):
        return value
    # A coupon's or product's id is of the caller's choice and says nothing of its type.
    kind = name if name in ("coupon", "product") else kind_of(str(value))
    if kind is None:
        raise _impossible(path)
    return ledger.documents.get(kind, value)


def _impossible(path: str) -> Fault:
    return Fault(f"This property cannot be expanded ({path[:64]}).", param="expand[0]")
