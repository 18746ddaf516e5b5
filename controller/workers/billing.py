"""Stripe's events, after the inbox: look again at the subscription and converge."""

from __future__ import annotations

from dataclasses import dataclass

from controller.clients import stripe
from controller.clients.stripe import Stripe
from controller.core import db, failpoints, metrics
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError
from controller.core.queue import Doorbell
from controller.domain import bells, catch_up, inbox, lifecycle, reminders
from controller.domain.lifecycle import Mint, Why

log = logs.get(__name__)

HANDLED = metrics.counter("billing_events", "Attempts to handle an event, by what became of it", "outcome")

UNDELIVERED = metrics.counter("billing_undelivered_events", "Events that Stripe listed and had not delivered")


async def handle_event(database: Database, asker: Stripe, mint: Mint, bell: Doorbell, event_id: str) -> None:
    """Handle one stored event if it still waits; a failure is counted in its row, never raised."""
    try:
        rings = await _converge(database, asker, mint, event_id)
    except CloudError as error:
        await count_failure(database, event_id, error)
        return
    HANDLED.labels("handled").inc()
    failpoints.hit("billing.converged")
    if rings.job is not None:
        await bell.ring(bells.COMMITS)
    for notice_id in rings.notices:
        await bell.ring(bells.NOTICE, notice_id)


async def count_failure(database: Database, event_id: str, error: CloudError) -> None:
    """The event's row says that an attempt failed and when the next is due, or that a human has to look."""
    HANDLED.labels("failed").inc()
    log.warning("billing.event_failed", event_id=event_id, error=str(error))
    async with database.transaction() as session:
        event = await inbox.take(session, inbox.STRIPE, event_id)
        if event is not None:
            inbox.failed(event, error)


async def read_undelivered(database: Database, asker: Stripe, bell: Doorbell) -> None:
    """Every event that Stripe lists is in the inbox, also those whose delivery it gave up.

    Raises Temporary while Stripe is away: then the next ring goes on from the last window that was stored.
    """
    last = False
    while not last:
        async with database.transaction() as session:
            window = await catch_up.window(session, inbox.STRIPE)
        listed = await asker.events(window.start, window.end)
        async with database.transaction() as session:
            new = [one for one in listed if await inbox.put(session, inbox.STRIPE, one.id, one.kind, one.payload)]
            await catch_up.reach(session, inbox.STRIPE, window.end)
        for event in new:
            UNDELIVERED.inc()
            log.warning("billing.event_undelivered", event_id=event.id, kind=event.kind)
            await bell.ring(bells.EVENT, event.id)
        last = window.last


@dataclass(frozen=True)
class _Rings:
    """What the transaction left for others to do."""

    job: str | None = None
    notices: tuple[str, ...] = ()


async def _converge(database: Database, asker: Stripe, mint: Mint, event_id: str) -> _Rings:
    """One transaction: the lock, the fetch under it, the new state, the job, what to tell, the event done."""
    async with database.transaction() as session:
        event = await inbox.take(session, inbox.STRIPE, event_id)
        if event is None:
            return _Rings()
        failpoints.hit("billing.taken")
        subscription, checkout = stripe.subject(event.payload)
        made = _Rings()
        if subscription is not None:
            # The lock comes before the fetch, or a stale answer could be stored after a newer one.
            await db.lock(session, f"subscription:{subscription}")
            facts = await asker.subscription(subscription, session_id=checkout)
            failpoints.hit("billing.fetched")
            job = await lifecycle.converge(session, mint, facts, Why(inbox.STRIPE, event_id))
            made = _Rings(job.id if job else None, tuple(await reminders.write(session, facts)))
        inbox.done(event)
        log.info("billing.event_handled", event_id=event_id, kind=event.kind, job_id=made.job)
        return made
