"""Which release of ``charts/box`` a box is to have, and the rollouts that change it: ring by ring, one at a time.

running ──► completed (its release is the fleet's from then on)
   ├──► paused ◄──────── by ops; ``resume`` goes on
   ├──► stopped ◄─────── by itself, with the reason; ``resume`` tries again
   └──► aborting ──► aborted (every box that it moved has its former release again); from paused and stopped too
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock, ids
from controller.core.db import Base


class RolloutState(StrEnum):
    """How far a rollout has come."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ABORTING = "aborting"
    ABORTED = "aborted"
    COMPLETED = "completed"


UNFINISHED = (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.STOPPED, RolloutState.ABORTING)
GOING_ON = (RolloutState.RUNNING, RolloutState.PAUSED)
"""While it is in these, rings that it has begun with have its release, also for new boxes."""


class MoveState(StrEnum):
    """What became of one box in a rollout.

    ``left``: it has ended, or ops chose its release themselves · ``undone``: an abort gave it its former one.
    """

    UNDER_WAY = "under_way"
    HEALTHY = "healthy"
    FAILED = "failed"
    LEFT = "left"
    UNDONE = "undone"


class Rollout(Base):
    """One release on its way through the rings."""

    __tablename__ = "rollouts"
    __table_args__ = (Index("ix_rollouts_state", "state", "ended_at"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.new)
    release: Mapped[str]
    actor: Mapped[str]
    batch: Mapped[int]
    """At most so many boxes are under way at once."""

    soak: Mapped[timedelta]
    """How long a ring has to stay healthy before the next one begins."""

    patience: Mapped[timedelta]
    """How long a box may take from its commit until it is healthy."""

    failures_percent: Mapped[int]
    """How many of a ring's boxes may fail, in percent of all that are to be moved in it, rounded down."""

    state: Mapped[str] = mapped_column(default=RolloutState.RUNNING.value)
    reason: Mapped[str | None]
    """Why it stopped, or what its abort could not bring back."""

    ring: Mapped[int | None]
    """The ring that it is at; None before the first."""

    whole_since: Mapped[datetime | None]
    """Since when nothing of the ring is waiting, under way or ill: the soak."""

    started_at: Mapped[datetime] = mapped_column(default=clock.now)
    resumed_at: Mapped[datetime | None]
    """When ops let it go on: boxes that were given up have their time again from then."""

    ended_at: Mapped[datetime | None]


class Move(Base):
    """One box that a rollout moved, or must not move (any more)."""

    __tablename__ = "rollout_moves"
    __table_args__ = (Index("ix_rollout_moves_state", "rollout_id", "ring", "state"),)

    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"), primary_key=True)
    ring: Mapped[int]
    """The one that the rollout was at."""

    previous: Mapped[str]
    """The release that the box had before."""

    job_id: Mapped[str | None] = mapped_column(ForeignKey("operator_jobs.id"))
    """The job that brings the new one; None for a box that ops kept out of it."""

    undo_job_id: Mapped[str | None] = mapped_column(ForeignKey("operator_jobs.id"))
    """The job by which an abort brings the former one back."""

    state: Mapped[str] = mapped_column(default=MoveState.UNDER_WAY.value)
    healthy_at: Mapped[datetime | None]
    """When it was first seen to be healthy: what makes it ill later has its time from then on."""

    falls: Mapped[int] = mapped_column(default=0)
    """How often it was healthy and fell ill with nothing else to explain it: a crash loop looks well in between."""

    error: Mapped[str | None]
    """Why it failed or was left."""


async def unfinished(session: AsyncSession, *, lock: bool = False, share: bool = False) -> Rollout | None:
    """The rollout that is not over, if there is one; its row locked against others' changes, or shared.

    A transaction that shares it keeps the rollout from going on, and so from ending, before what it does is seen.
    """
    query = select(Rollout).where(Rollout.state.in_(UNFINISHED))
    if lock or share:
        query = query.with_for_update(read=share).execution_options(populate_existing=True)
    found: Rollout | None = await session.scalar(query)
    return found


async def in_force(session: AsyncSession, ring: int, first: str) -> str:
    """The release of a box that comes into ``ring`` now: the rollout's if it has reached the ring, else the fleet's.

    The fleet's is that of the last rollout that was completed, and ``first`` as long as none was.
    """
    rollout = await unfinished(session, share=True)
    if rollout is not None and rollout.state in GOING_ON and rollout.ring is not None and ring <= rollout.ring:
        return rollout.release
    return await of_the_fleet(session) or first


async def of_the_fleet(session: AsyncSession) -> str | None:
    """The release of the last rollout that was completed; None if none was."""
    done = select(Rollout.release).where(Rollout.state == RolloutState.COMPLETED)
    found: str | None = await session.scalar(done.order_by(Rollout.ended_at.desc()).limit(1))
    return found
