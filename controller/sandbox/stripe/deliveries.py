"""Deliveries: one row for each event and endpoint, kept until the endpoint answers 2xx."""

from __future__ import annotations

import random

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.travel import Travel

KEPT_ATTEMPTS = 20
"""How many of a delivery's attempts stay in its log; ``attempt_count`` counts all."""


def settings(ledger: Ledger) -> Travel:
    """How events travel now."""
    return Travel.model_validate(ledger.documents.get("delivery_settings", "only") or {})


def set_settings(ledger: Ledger, changed: Travel, *, redraw: bool = False) -> None:
    """From now on events travel so; ``redraw`` begins the seed's chances anew."""
    ledger.documents.put("delivery_settings", "only", changed.model_dump())
    if redraw:
        ledger.documents.put("delivery_draws", "only", {"drawn": 0})


def counts(ledger: Ledger) -> dict[str, int]:
    """How often each thing happened on the way, since the account began."""
    names = (
        "queued",
        "duplicated",
        "dropped",
        "delayed",
        "lost_posts",
        "lost_answers",
        "delivered",
        "refused",
        "failed",
    )
    return dict.fromkeys(names, 0) | (ledger.documents.get("delivery_counts", "only") or {})


def schedule(ledger: Ledger, event: Document) -> int:
    """Queue ``event`` for each endpoint that asked for its type; return how many endpoints that is."""
    travel = settings(ledger)
    endpoints = _wanting(ledger, event)
    dropping = travel.drop
    for endpoint in endpoints:
        if travel.drop > 0:
            travel.drop -= 1
            count(ledger, "dropped")
            _queue(ledger, event, endpoint, "dropped", travel)
            continue
        more = int(_draw(ledger, travel) * (travel.duplicate_at_most + 1)) if travel.duplicate_at_most else 0
        copies = 1 + travel.duplicate + more
        if copies > 1:
            count(ledger, "duplicated", copies - 1)
        for _ in range(copies):
            _queue(ledger, event, endpoint, "waiting", travel)
    if travel.drop != dropping:
        set_settings(ledger, travel)
    return len(endpoints)


def redeliver(ledger: Ledger, events: list[Document], *, times: int, shuffle_seed: int | None) -> list[str]:
    """Queue the events again, ``times`` each, in their own or a drawn order; return the new deliveries' ids."""
    order = [event for event in events for _ in range(times)]
    if shuffle_seed is not None:
        random.Random(shuffle_seed).shuffle(order)  # noqa: S311, a test's order is no secret
    plain = Travel()
    return [
        _queue(ledger, event, endpoint, "waiting", plain, rank=float(place))
        for place, event in enumerate(order)
        for endpoint in _wanting(ledger, event)
    ]


def due(ledger: Ledger) -> tuple[list[Document], float | None]:
    """Deliveries to send now in sending order, and the seconds until the next one (None: none waits)."""
    travel = settings(ledger)
    if travel.paused:
        return [], None
    waiting = [row for row in _waiting(ledger).values() if row["type"] not in travel.held_types]
    at = clock.now().timestamp()
    # What is due later than any pause allows was planned before the machine's clock was set back.
    horizon = at + max(travel.longest_retry_seconds, travel.delay_ms_at_most / 1000)
    ready = [row for row in waiting if row["at"] <= at or row["at"] > horizon]
    if travel.shuffle:
        ready.sort(key=lambda row: row["rank"])
    later = [row["at"] - at for row in waiting if at < row["at"] <= horizon]
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
    if row["status"] != "waiting":
        return ledger.save(row)
    travel = settings(ledger)
    if status is not None and 200 <= status < 300:
        count(ledger, "delivered")
        _lower_pending(ledger, row["event"], row["endpoint"])
        return _end(ledger, row, "delivered")
    count(ledger, "refused")
    if travel.attempts_limit and row["attempt_count"] >= travel.attempts_limit:
        count(ledger, "failed")
        return _end(ledger, row, "failed")
    row["next_attempt_at"] = at + travel.pause_after(row["attempt_count"])
    _wait(ledger, row)
    return ledger.save(row)


def forget(ledger: Ledger, endpoint_id: str) -> None:
    """Send nothing more to an endpoint that was deleted or disabled."""
    for row in ledger.documents.find("waiting", {"endpoint": endpoint_id}):
        _end(ledger, ledger.get("delivery", row["id"]), "abandoned")


def take_mishap(ledger: Ledger) -> str | None:
    """What happens to the post that is sent now: ``lost_posts``, ``lost_answers`` or nothing; counted down."""
    travel = settings(ledger)
    for name in ("lost_posts", "lost_answers"):
        left = getattr(travel, name)
        if left > 0:
            set_settings(ledger, travel.model_copy(update={name: left - 1}))
            count(ledger, name)
            return name
    return None


def count(ledger: Ledger, name: str, by: int = 1) -> None:
    """``name`` happened ``by`` times more."""
    now = counts(ledger)
    ledger.documents.put("delivery_counts", "only", now | {name: now[name] + by})


def _end(ledger: Ledger, row: Document, status: str) -> Document:
    ledger.documents.remove("waiting", row["id"])
    _waiting(ledger).pop(row["id"], None)
    return ledger.save(row | {"status": status, "next_attempt_at": None})


def _wanting(ledger: Ledger, event: Document) -> list[Document]:
    return [
        endpoint
        for endpoint in ledger.all("webhook_endpoint", {"deleted": None, "status": "enabled"})
        if {"*", event["type"]} & set(endpoint["enabled_events"])
    ]


def _queue(
    ledger: Ledger, event: Document, endpoint: Document, status: str, travel: Travel, rank: float | None = None
) -> str:
    delay = travel.delay_ms_at_most * _draw(ledger, travel) / 1000 if travel.delay_ms_at_most else 0.0
    if delay:
        count(ledger, "delayed")
    row: Document = {
        "id": ledger.new_id("wd"),
        "object": "delivery",
        "event": event["id"],
        "type": event["type"],
        "endpoint": endpoint["id"],
        "url": endpoint["url"],
        "status": status,
        "next_attempt_at": clock.now().timestamp() + delay if status == "waiting" else None,
        "attempt_count": 0,
        "attempts": [],
        "rank": rank if rank is not None else _draw(ledger, travel) if travel.shuffle else 0.0,
    }
    if status == "waiting":
        count(ledger, "queued")
        _wait(ledger, row)
    return str(ledger.save(row)["id"])


def waiting_count(ledger: Ledger) -> int:
    """How many deliveries are still to be made."""
    return len(_waiting(ledger))


def _waiting(ledger: Ledger) -> dict[str, Document]:
    """What waits, kept in memory because the sender looks at all of it; read anew after what was taken back."""
    if ledger.waiting is None or ledger.waiting_since != ledger.documents.undone:
        ledger.waiting = {row["id"]: row for row in ledger.documents.find("waiting")}
        ledger.waiting_since = ledger.documents.undone
    return ledger.waiting


def _wait(ledger: Ledger, row: Document) -> None:
    line = _line(row)
    ledger.documents.put("waiting", row["id"], line)
    _waiting(ledger)[row["id"]] = line


def _line(row: Document) -> Document:
    """What the sender needs to know of a waiting delivery: few rows, so that it can look often."""
    names = ("id", "event", "endpoint", "type", "rank")
    return {name: row[name] for name in names} | {"at": row["next_attempt_at"]}


def _draw(ledger: Ledger, travel: Travel) -> float:
    """The seed's next chance in [0, 1): the same row of chances for the same seed, whatever the hour."""
    drawn = (ledger.documents.get("delivery_draws", "only") or {"drawn": 0})["drawn"]
    ledger.documents.put("delivery_draws", "only", {"drawn": drawn + 1})
    return random.Random(f"{travel.seed}:{drawn}").random()  # noqa: S311, a test's order is no secret


def _lower_pending(ledger: Ledger, event_id: str, endpoint_id: str) -> None:
    taken = f"{event_id}:{endpoint_id}"
    if ledger.documents.get("taken", taken):
        return
    ledger.documents.put("taken", taken, {})
    event = ledger.get("event", event_id)
    ledger.save(event | {"pending_webhooks": max(event["pending_webhooks"] - 1, 0)})
