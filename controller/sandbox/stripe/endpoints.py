"""What ties a method and path of Stripe's API to the function that serves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controller.sandbox.documents import Document
from controller.sandbox.stripe.params import Params


@dataclass(frozen=True)
class Endpoint:
    """``handler(ledger, params, *path ids)`` answers ``method /v1<path>``; ``params`` names the parameters' type."""

    method: str
    path: str
    handler: Callable[..., Document]
    params: type[Params] = Params


def retrieve(path: str, kind: str) -> Endpoint:
    """``GET path/{id}`` for a type whose stored form is its public form."""

    def handler(ledger: Any, _: Params, key: str) -> Document:
        found: Document = ledger.get(kind, key)
        return found

    return Endpoint("GET", f"{path}/{{id}}", handler)
