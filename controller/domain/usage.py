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
from controller.domain.measured import ROLL_UP, Measured
from controller.domain.subscriptions import Subscription


class UsageEvent(Base):
    """One response. ``estimated`` when the provider did not say and we counted what was delivered."""

    __tablename__ = "usage_events"
    __table_args__ = (Index("ix_usage_events_box_id_at", "box_id", "at"),)

    request_id: Mapped[str] = mapped_column(primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"))
    model: Mapped[str]
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    reasoning_tokens: Mapped[int] = mapped_column(BigInteger)
    estimated: Mapped[bool]
    at: Mapped[datetime]


class UsageMonthly(Base):
    """A box's sums over one billing period, told apart by the period's start (UTC)."""

    __tablename__ = "usage_monthly"

    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"), primary_key=True)
    period_start: Mapped[datetime] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    computed_at: Mapped[datetime] = mapped_column(default=clock.now)


async def record(session: AsyncSession, measured: Iterable[Measured]) -> int:
    """Insert the rows whose request id is new and recompute their boxes' sums; how many were new."""
    rows: list[dict[str, Any]] = [one.model_dump() for one in measured]
    if not rows:
        return 0
    statement = insert(UsageEvent).values(rows).on_conflict_do_nothing().returning(UsageEvent.box_id)
    boxes = list(await session.scalars(statement))
    if boxes:
        await _roll_up(session, sorted(set(boxes)))
    return len(boxes)


async def _roll_up(session: AsyncSession, boxes: list[str]) -> None:
    locked = select(Subscription.id).where(Subscription.box_id.in_(boxes)).order_by(Subscription.box_id)
    await session.execute(locked.with_for_update(key_share=True))
    await session.execute(text(ROLL_UP.format(now=":now", boxes=":boxes")), {"boxes": boxes, "now": clock.now()})
