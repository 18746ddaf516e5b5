"""Idempotency keys: a request that comes twice is done once, also when we died in between."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger

KEPT_FOR = timedelta(hours=24)
LONGEST_KEY = 255


@dataclass(frozen=True)
class Claim:
    """A key as one API key's owner uses it, and the request that it stands for."""

    name: str
    request: list[object]


def claim(secret_key: str, given: str, request: list[object]) -> Claim:
    """The claim of ``given`` on ``request``. Raises Fault for a key that is too long."""
    if len(given) > LONGEST_KEY:
        raise Fault("Idempotency keys may be up to 255 characters long.", type="idempotency_error")
    return Claim(hashlib.sha256(f"{secret_key} {given}".encode()).hexdigest(), request)


def earlier_answer(ledger: Ledger, claimed: Claim) -> tuple[int, Document] | None:
    """The status and answer that the same request had before; None if it was not done yet.

    Raises Fault when the key stood for another request.
    """
    earlier = ledger.documents.get("idempotency", claimed.name)
    if earlier is None or earlier["at"] < (clock.now() - KEPT_FOR).timestamp():
        return None
    if earlier["request"] != claimed.request:
        raise Fault(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try"
            " using a key other than the one that you used before if you meant to execute a different request.",
            type="idempotency_error",
        )
    return earlier["status"], earlier["answer"]


def remember(ledger: Ledger, claimed: Claim, status: int, answer: Document) -> None:
    """The same request gets this answer for a day."""
    row = {"request": claimed.request, "status": status, "answer": answer, "at": clock.now().timestamp()}
    ledger.documents.put("idempotency", claimed.name, row)


def busy() -> Fault:
    """The error for a key whose first request is still being worked on."""
    return Fault(
        "There is currently another in-progress request using this idempotency key. Please try again later.",
        status=409,
        type="idempotency_error",
        code="idempotency_key_in_use",
    )
