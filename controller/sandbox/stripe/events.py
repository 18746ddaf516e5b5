"""Events: what happened, as a snapshot, to be listed and delivered."""

from __future__ import annotations

from typing import Any

from controller.sandbox.documents import Document
from controller.sandbox.stripe import deliveries
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing

API_VERSION = "2026-10-28.endive"
"""The one version whose shapes we answer in."""


class EventListing(Listing):
    """Filters: exact types, an age in Unix seconds, and whether every delivery was taken."""

    type: str | None = None
    types: list[str] | None = None
    created: dict[str, int] | int | None = None
    delivery_success: bool | None = None


def emit(ledger: Ledger, type: str, item: Document, previous: dict[str, Any] | None = None) -> Document:
    """Record that ``type`` happened to ``item`` (as it is now) and queue it for every endpoint that asked.

    ``previous`` holds the changed fields' old values.
    """
    data: Document = {"object": item}
    if previous is not None:
        data["previous_attributes"] = previous
    event: Document = {
        "id": ledger.new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": ledger.now(),
        "data": data,
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": ledger.call.request_id, "idempotency_key": ledger.call.idempotency_key},
        "type": type,
    }
    event["pending_webhooks"] = deliveries.schedule(ledger, event)
    return ledger.save(event)


def emit_change(ledger: Ledger, type: str, old: Document, new: Document) -> None:
    """Emit ``type`` with the fields of ``old`` that differ in ``new``; nothing if none does."""
    previous = {name: old.get(name) for name in new if old.get(name) != new[name]}
    if previous:
        emit(ledger, type, new, previous)


def list_events(ledger: Ledger, params: EventListing) -> Document:
    """A page of events, newest first."""
    wanted = {params.type} if params.type else set(params.types or ())
    bounds = _bounds(params.created)

    def keep(event: Document) -> bool:
        return (
            (not wanted or event["type"] in wanted)
            and all(_within(event["created"], name, limit) for name, limit in bounds.items())
            and params.delivery_success in (None, event["pending_webhooks"] == 0)
        )

    return ledger.page("event", "/v1/events", params, keep=keep)


def _bounds(created: dict[str, int] | int | None) -> dict[str, int]:
    if created is None:
        return {}
    return created if isinstance(created, dict) else {"gte": created, "lte": created}


def _within(value: int, name: str, limit: int) -> bool:
    return {"gt": value > limit, "gte": value >= limit, "lt": value < limit, "lte": value <= limit}.get(name, True)


ENDPOINTS = [
    Endpoint("GET", "/events", list_events, EventListing),
    retrieve("/events", "event"),
]
