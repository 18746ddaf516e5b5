"""What the token proxy measured: one row a response, and a month's sums computed from the rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.db import Base
from controller.domain import reservations
from controller.domain.measured import ROLL_UP, Measured
from controller.domain.subscriptions import Subscription


class UsageEvent(Base):
    """One response. ``estimated`` when the provider did not say and we counted what was delivered."""

    __tablename__ = "usage_events"
    __table_args__ = (
        Index("ix_usage_events_box_id_at", "box_id", "at"),
        Index("ix_usage_events_box_id_period_start", "box_id", "period_start"),
    )

    request_id: Mapped[str] = mapped_column(primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"))
    model: Mapped[str]
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    reasoning_tokens: Mapped[int] = mapped_column(BigInteger)
    cost_microusd: Mapped[int] = mapped_column(BigInteger, server_default="0")
    estimated: Mapped[bool]
    at: Mapped[datetime]
    period_start: Mapped[datetime]
    """The billing period that pays: the one in which the call was admitted."""


class UsageMonthly(Base):
    """A box's sums over one billing period, told apart by the period's start (UTC)."""

    __tablename__ = "usage_monthly"

    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"), primary_key=True)
    period_start: Mapped[datetime] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cost_microusd: Mapped[int] = mapped_column(BigInteger, server_default="0")
    computed_at: Mapped[datetime] = mapped_column(default=clock.now)


async def record(session: AsyncSession, measured: Iterable[Measured]) -> int:
    """Store the rows, close their reservations and recompute the sums of their periods; how many rows changed.

    A request id is stored once. Only an estimate gives way, to the provider's figures: a proxy that was taken for dead
    may come back with them.
    """
    rows = await _rows(session, measured)
    if not rows:
        return 0
    await reservations.close(session, [row["request_id"] for row in rows])
    insertion = insert(UsageEvent).values(rows)
    better = UsageEvent.estimated & ~insertion.excluded.estimated
    changed = {name: insertion.excluded[name] for name in rows[0] if name != "request_id"}
    upsert = insertion.on_conflict_do_update(index_elements=["request_id"], set_=changed, where=better)
    stored = (await session.execute(upsert.returning(UsageEvent.box_id, UsageEvent.period_start))).all()
    if stored:
        await _roll_up(session, sorted({(box_id, period) for box_id, period in stored}))
    return len(stored)


async def recover(session: AsyncSession, limit: int = 200) -> int:
    """Settle calls whose proxy has died: a row for each that had begun to answer, nothing for the rest; how many."""
    left = await reservations.abandoned(session, limit)
    await record(session, [one.measurement() for one in left if one.delivering])
    await reservations.close(session, [one.request_id for one in left])
    if not left:
        await reservations.forget_dead(session)
    return len(left)


async def _rows(session: AsyncSession, measured: Iterable[Measured]) -> list[dict[str, Any]]:
    """A row for each request id, the provider's figures before an estimate, with the period that pays."""
    found: dict[str, Measured] = {}
    for one in measured:
        if one.request_id not in found or found[one.request_id].estimated:
            found[one.request_id] = one
    untold = {one.box_id for one in found.values() if one.period_start is None}
    query = select(Subscription.box_id, Subscription.period_start).where(Subscription.box_id.in_(untold))
    current = {row[0]: row[1] for row in await session.execute(query)} if untold else {}
    return [one.model_dump() | {"period_start": one.period_start or current.get(one.box_id, one.at)}
            for one in found.values()]  # fmt: skip


async def _roll_up(session: AsyncSession, pairs: list[tuple[str, datetime]]) -> None:
    boxes, periods = [box_id for box_id, _ in pairs], [period for _, period in pairs]
    locked = select(Subscription.id).where(Subscription.box_id.in_(boxes)).order_by(Subscription.box_id)
    await session.execute(locked.with_for_update(key_share=True))
    statement = text(ROLL_UP.format(now=":now", boxes=":boxes", periods=":periods"))
    await session.execute(statement, {"boxes": boxes, "periods": periods, "now": clock.now()})
