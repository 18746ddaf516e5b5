"""What the customer watches: milestones of a box as rows with a sequence, so a reconnect misses nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.db import Base


class ProgressEvent(Base):
    """One milestone: ``paid``, ``committed``, ``synced``, ``ready`` …; ``seq`` counts from 1 within the box."""

    __tablename__ = "progress_events"

    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    facts: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=clock.now)


async def add(session: AsyncSession, box_id: str, name: str, **facts: Any) -> None:
    """Append a milestone. The caller holds the box's row lock, which keeps the sequence free of gaps."""
    last = await session.scalar(select(func.max(ProgressEvent.seq)).where(ProgressEvent.box_id == box_id))
    session.add(ProgressEvent(box_id=box_id, seq=(last or 0) + 1, name=name, facts=facts))
    await session.flush()


async def restart(session: AsyncSession, box_id: str) -> None:
    """The box has no milestones, and the next is its first: what came before was nobody's to watch."""
    await session.execute(delete(ProgressEvent).where(ProgressEvent.box_id == box_id))


async def since(session: AsyncSession, box_id: str, after: int = 0) -> list[ProgressEvent]:
    """The milestones with a sequence above ``after``, in order."""
    query = select(ProgressEvent).where(ProgressEvent.box_id == box_id, ProgressEvent.seq > after)
    return list(await session.scalars(query.order_by(ProgressEvent.seq)))
