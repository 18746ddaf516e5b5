"""What the pods of a box used, as the cluster measured it: a row a measurement, and no row where there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from pydantic import Field
from sqlalchemy import BigInteger, ForeignKey, Index, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.db import Base
from controller.core.settings import Group
from controller.domain.boxes import Box


class PodMetricsSettings(Group):
    """How often we look, and how long we remember."""

    pod_metrics_interval: timedelta = Field(default=timedelta(minutes=5), ge=timedelta(0))
    """5 min: 288 points a day for a plot, and 22 million rows a month in a full cell of 2 500 boxes. 0 switches off."""

    pod_metrics_retention: timedelta = Field(default=timedelta(days=31), gt=timedelta(0))
    """31 days: the longest plot that a customer sees shows 30."""


@dataclass(frozen=True)
class Measurement:
    """One box at one moment: the sum over its containers."""

    box_id: str
    at: datetime
    cpu_millicores: int
    memory_bytes: int


class PodMetric(Base):
    """One measurement. ``at`` is the cluster's own time of it, so that reading it twice stores it once."""

    __tablename__ = "pod_metrics"
    __table_args__ = (Index("ix_pod_metrics_at", "at"),)

    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    cpu_millicores: Mapped[int]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)


async def record(session: AsyncSession, measured: Iterable[Measurement]) -> int:
    """Store the measurements of boxes that we know; how many were new."""
    found = {one.box_id: one for one in measured}
    known = await session.scalars(select(Box.id).where(Box.id.in_(found)))
    rows = [asdict(found[box_id]) for box_id in known]
    if not rows:
        return 0
    statement = insert(PodMetric).values(rows).on_conflict_do_nothing().returning(PodMetric.box_id)
    return len(list(await session.scalars(statement)))


async def forget(session: AsyncSession, settings: PodMetricsSettings) -> None:
    """Delete what is older than the retention."""
    await session.execute(delete(PodMetric).where(PodMetric.at < clock.now() - settings.pod_metrics_retention))


async def restart(session: AsyncSession, box_id: str) -> None:
    """Nothing is known of what the box used so far: that was nobody's to see."""
    await session.execute(delete(PodMetric).where(PodMetric.box_id == box_id))


async def since(session: AsyncSession, box_id: str, start: datetime) -> list[PodMetric]:
    """The box's measurements from ``start`` on, oldest first; where there is no row, nothing was measured."""
    query = select(PodMetric).where(PodMetric.box_id == box_id, PodMetric.at >= start).order_by(PodMetric.at)
    return list(await session.scalars(query))
