"""Outside events, stored once by id before we answer; handled later, as often as it takes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.db import Base
from controller.core.errors import CloudError, Conflict, NotFound
from controller.domain import attempts

STRIPE = "stripe"
"""The source whose events the billing worker handles."""


class InboxEvent(Base):
    """One event of one source. Neither ``done_at`` nor ``set_aside_at``: it waits for its next attempt."""

    __tablename__ = "inbox"
    __table_args__ = (
        Index("ix_inbox_undone", "source", "received_at", postgresql_where="done_at IS NULL"),
        Index("ix_inbox_waiting", "next_attempt_at", postgresql_where="done_at IS NULL AND set_aside_at IS NULL"),
    )

    source: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]]
    received_at: Mapped[datetime] = mapped_column(default=clock.now)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(default=clock.now)
    error: Mapped[str | None]
    done_at: Mapped[datetime | None]
    set_aside_at: Mapped[datetime | None]


async def put(session: AsyncSession, source: str, event_id: str, kind: str, payload: dict[str, Any]) -> bool:
    """Store the event unless its id is known; whether it was new."""
    statement = (
        insert(InboxEvent)
        .values(
            source=source,
            event_id=event_id,
            kind=kind,
            payload=_storable(payload),
            received_at=clock.now(),
            attempts=0,
            next_attempt_at=clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(InboxEvent.event_id)
    )
    return (await session.execute(statement)).first() is not None


async def take(session: AsyncSession, source: str, event_id: str) -> InboxEvent | None:
    """The event with its row locked, or None if it is handled, set aside, unknown or in other hands."""
    query = (
        select(InboxEvent)
        .where(InboxEvent.source == source, InboxEvent.event_id == event_id)
        .where(InboxEvent.done_at.is_(None), InboxEvent.set_aside_at.is_(None))
        .with_for_update(skip_locked=True)
    )
    found: InboxEvent | None = await session.scalar(query)
    return found


async def due(session: AsyncSession, source: str, limit: int = 200) -> list[str]:
    """Ids of events that wait and whose time has come, oldest first."""
    query = (
        select(InboxEvent.event_id)
        .where(InboxEvent.source == source, InboxEvent.next_attempt_at <= clock.now())
        .where(InboxEvent.done_at.is_(None), InboxEvent.set_aside_at.is_(None))
        .order_by(InboxEvent.next_attempt_at)
        .limit(limit)
    )
    return list(await session.scalars(query))


def done(event: InboxEvent) -> None:
    """The event's effects are in this transaction, and so is this mark."""
    event.done_at = clock.now()
    event.error = None


def failed(event: InboxEvent, error: CloudError) -> None:
    """Count a failed attempt: schedule the next, or set the event aside for a human."""
    event.attempts += 1
    event.error = str(error)
    if attempts.used_up(error, event.attempts):
        event.set_aside_at = clock.now()
    else:
        event.next_attempt_at = clock.now() + attempts.wait(error, attempts.backoff(event.attempts))


async def retry(session: AsyncSession, source: str, event_id: str) -> None:
    """An event that was set aside waits again, due now and with a fresh count.

    Raises NotFound, or Conflict if it is handled or was not set aside.
    """
    event = await session.get(InboxEvent, (source, event_id), with_for_update=True)
    if event is None:
        raise NotFound("event_unknown")
    if event.done_at is not None or event.set_aside_at is None:
        raise Conflict("event_not_set_aside")
    event.set_aside_at = None
    event.attempts = 0
    event.next_attempt_at = clock.now()


def _storable(value: Any) -> Any:
    """``value`` as ``jsonb`` can hold it: no NUL and no half of a surrogate pair in any text."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
