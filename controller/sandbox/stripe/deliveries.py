"""Deliveries: one row for each event and endpoint, kept until the endpoint answers 2xx."""

from __future__ import annotations

import random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.stripe.ledger import Ledger

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
KEPT_ATTEMPTS = 20
"""How many of a delivery's attempts stay in its log; ``attempt_count`` counts all."""


class Delivery(BaseModel):
    """How events travel, so that a test can make the network bad on purpose; each field keeps its value if omitted."""

    model_config = ConfigDict(extra="forbid")

    paused: bool = False
    """Hold everything; nothing is lost."""
    duplicate: Annotated[int, Field(ge=0, le=20)] = 0
    """Copies sent of each event beyond the first."""
    shuffle: bool = False
    """Send what is due in a random order, drawn from ``seed``."""
    seed: int = 0
    drop: Annotated[int, Field(ge=0)] = 0
    """How many of the next deliveries are lost for good; counts down."""
    parallel: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests at a time for each endpoint. Stripe promises no order; 1 keeps the order of events."""


def settings(ledger: Ledger) -> Delivery:
    """How events travel now."""
    return Delivery.model_validate(ledger.documents.get("delivery_settings", "only") or {})


def set_settings(ledger: Ledger, changed: Delivery) -> None:
    """From now on events travel so."""
    ledger.documents.put("delivery_settings", "only", changed.model_dump())


def schedule(ledger: Ledger, event: Document) -> int:
    """Queue ``event`` for each endpoint that asked for its type; return how many endpoints that is."""
    travel = settings(ledger)
    endpoints = _wanting(ledger, event)
    for endpoint in endpoints:
        dropped = travel.drop > 0
        copies = 1 if dropped else 1 + travel.duplicate
        for _ in range(copies):
            _queue(ledger, event, endpoint, "dropped" if dropped else "waiting")
        travel.drop -= int(dropped)
    if endpoints:
        set_settings(ledger, travel)
    return len(endpoints)


def redeliver(ledger: Ledger, events: list[Document], *, times: int, shuffle_seed: int | None) -> list[str]:
    """Queue the events again, ``times`` each, in their own or a drawn order; return the new deliveries' ids."""
    order = [event for event in events for _ in range(times)]
    if shuffle_seed is not None:
        random.Random(shuffle_seed).shuffle(order)  # noqa: S311, a test's order is no secret
    return [_queue(ledger, event, endpoint, "waiting") for event in order for endpoint in _wanting(ledger, event)]


def due(ledger: Ledger) -> tuple[list[Document], float | None]:
    """Deliveries to send now in sending order, and the seconds until the next one (None: none waits)."""
    travel = settings(ledger)
    if travel.paused:
        return [], None
    waiting = ledger.all("delivery", {"status": "waiting"})
    at = clock.now().timestamp()
    ready = [row for row in waiting if row["next_attempt_at"] <= at]
    if travel.shuffle:
        random.Random(travel.seed).shuffle(ready)  # noqa: S311, a test's order is no secret
    later = [row["next_attempt_at"] - at for row in waiting if row["next_attempt_at"] > at]
    return ready, min(later, default=None)


def record(ledger: Ledger, key: str, *, status: int | None, error: str | None, duration_ms: int) -> Document | None:
    """Note an attempt's outcome: 2xx ends the delivery, anything else plans the next try. None if it is gone."""
    row = ledger.documents.get("delivery", key)
    if row is None:
        return None
    at = clock.now().timestamp()
    row["attempt_count"] += 1
    attempt = {"at": at, "status": status, "error": error, "duration_ms": duration_ms}
    row["attempts"] = [*row["attempts"], attempt][-KEPT_ATTEMPTS:]
    if status is not None and 200 <= status < 300:
        row |= {"status": "delivered", "next_attempt_at": None}
        _lower_pending(ledger, row["event"], row["endpoint"])
    else:
        row["next_attempt_at"] = at + _pause(row["attempt_count"])
    return ledger.save(row)


def forget(ledger: Ledger, endpoint_id: str) -> None:
    """Send nothing more to an endpoint that was deleted or disabled."""
    for row in ledger.all("delivery", {"endpoint": endpoint_id, "status": "waiting"}):
        ledger.save(row | {"status": "abandoned", "next_attempt_at": None})


def _pause(attempts: int) -> float:
    return float(min(FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 10), LONGEST_RETRY_SECONDS))


def _wanting(ledger: Ledger, event: Document) -> list[Document]:
    return [
        endpoint
        for endpoint in ledger.all("webhook_endpoint", {"deleted": None, "status": "enabled"})
        if {"*", event["type"]} & set(endpoint["enabled_events"])
    ]


def _queue(ledger: Ledger, event: Document, endpoint: Document, status: str) -> str:
    row: Document = {
        "id": ledger.new_id("wd"),
        "object": "delivery",
        "event": event["id"],
        "type": event["type"],
        "endpoint": endpoint["id"],
        "url": endpoint["url"],
        "status": status,
        "next_attempt_at": clock.now().timestamp() if status == "waiting" else None,
        "attempt_count": 0,
        "attempts": [],
    }
    return str(ledger.save(row)["id"])


def _lower_pending(ledger: Ledger, event_id: str, endpoint_id: str) -> None:
    event = ledger.get("event", event_id)
    taken = ledger.all("delivery", {"event": event_id, "endpoint": endpoint_id, "status": "delivered"})
    if not taken and event["pending_webhooks"] > 0:
        ledger.save(event | {"pending_webhooks": event["pending_webhooks"] - 1})
