"""Test clocks: customers made with one live by its time, which its owner moves."""

from __future__ import annotations

from controller.sandbox.documents import Document
from controller.sandbox.stripe import billing, events, timeline
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing, Params

KEPT_DAYS = 30
MOST_PERIODS = 2


class ClockCreate(Params):
    """A new clock, standing at ``frozen_time``."""

    frozen_time: int
    name: str | None = None


class Advance(Params):
    """Where the clock moves to."""

    frozen_time: int


def create(ledger: Ledger, params: ClockCreate) -> Document:
    """The clock, standing still."""
    return ledger.save(
        {
            "id": ledger.new_id("clock"),
            "object": "test_helpers.test_clock",
            "created": ledger.now(),
            "deletes_after": ledger.now() + KEPT_DAYS * 86_400,
            "frozen_time": params.frozen_time,
            "livemode": False,
            "name": params.name,
            "status": "ready",
            "status_details": {},
        }
    )


def advance(ledger: Ledger, params: Advance, key: str) -> Document:
    """The clock, on its way as Stripe answers; everything due until then has happened when it is asked for next."""
    old = ledger.live("test_helpers.test_clock", key)
    _must_be_near(ledger, old, params.frozen_time)
    new = timeline.advance_clock(ledger, old, params.frozen_time)
    events.emit(ledger, "test_helpers.test_clock.ready", new)
    return new | {"status": "advancing"}


def delete(ledger: Ledger, _: Params, key: str) -> Document:
    """The clock is gone, and its customers with it."""
    ledger.live("test_helpers.test_clock", key)
    for customer in ledger.all("customer", {"test_clock": key, "deleted": None}):
        billing.delete_customer(ledger, Params(), customer["id"])
    ledger.idle()
    return ledger.save({"id": key, "object": "test_helpers.test_clock", "deleted": True})


def list_clocks(ledger: Ledger, params: Listing) -> Document:
    """A page of clocks."""
    return ledger.page("test_helpers.test_clock", "/v1/test_helpers/test_clocks", params)


def _must_be_near(ledger: Ledger, test_clock: Document, to: int) -> None:
    rows = ledger.all("subscription", {"test_clock": test_clock["id"]})
    lengths = [
        item["current_period_end"] - item["current_period_start"]
        for row in rows
        if row["status"] not in ("canceled", "incomplete_expired")
        for item in row["items"]["data"]
    ]
    if lengths and to - test_clock["frozen_time"] > MOST_PERIODS * max(min(lengths), 86_400) + 86_400:
        raise Fault(
            "You can advance a test clock by two intervals of its shortest subscription at most.", param="frozen_time"
        )


ENDPOINTS = [
    Endpoint("POST", "/test_helpers/test_clocks", create, ClockCreate),
    Endpoint("GET", "/test_helpers/test_clocks", list_clocks, Listing),
    retrieve("/test_helpers/test_clocks", "test_helpers.test_clock"),
    Endpoint("POST", "/test_helpers/test_clocks/{id}/advance", advance, Advance),
    Endpoint("DELETE", "/test_helpers/test_clocks/{id}", delete),
]
