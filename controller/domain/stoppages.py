"""Boxes that an admin stopped at once, past Git: who, why, and how far the cluster and Git have followed.

A stoppage is open from the order until Argo CD follows Git again for the box. Until then Argo CD is held off, or it
would heal what was stopped; once its Application carries the job that says the same in Git, it is let go.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock, ids
from controller.core.db import Base
from controller.core.errors import CloudError, Invalid
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.states import RUNNING, State

STOPPED = "stopped_by_admin"
"""Why a box is suspended that an admin stopped: ``start`` alone lifts it, or ops' commit that sets it active."""

LONGEST_REASON = 500


class Stoppage(Base):
    """One order to stop a box at once; the audit row of who gave it and why."""

    __tablename__ = "stoppages"
    __table_args__ = (Index("uq_stoppages_open", "box_id", unique=True, postgresql_where="released_at IS NULL"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.new)
    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"), index=True)
    actor: Mapped[str]
    reason: Mapped[str]
    job_id: Mapped[str] = mapped_column(ForeignKey("operator_jobs.id"))
    """The box's newest job when it was stopped: Git says the same from this job's commit on."""

    asked_at: Mapped[datetime] = mapped_column(default=clock.now)
    halted_at: Mapped[datetime | None]
    """When the cluster was first seen without a pod of the box."""

    lifted_at: Mapped[datetime | None]
    """When the box was to run again: nothing is scaled down any more."""

    lifted_by: Mapped[str | None]
    released_at: Mapped[datetime | None]
    """When Argo CD was let go: Git and it agree from here on."""

    error: Mapped[str | None]
    """What held the last step up; None once it was taken."""


def checked_reason(reason: str) -> str:
    """``reason`` without the blanks around it.

    Raises Invalid if nothing is left, or if it is too long or does not print as one line.
    """
    told = reason.strip()
    if not 0 < len(told) <= LONGEST_REASON or not told.isprintable():
        raise Invalid("reason_malformed", longest=LONGEST_REASON)
    return told


async def open_of(session: AsyncSession, box_id: str, *, lock: bool = False) -> Stoppage | None:
    """The box's open stoppage, its row locked for this transaction if ``lock``."""
    query = select(Stoppage).where(Stoppage.box_id == box_id, Stoppage.released_at.is_(None))
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    found: Stoppage | None = await session.scalar(query)
    return found


async def newest_of(session: AsyncSession, box_id: str) -> Stoppage | None:
    """The box's last stoppage, open or over."""
    query = select(Stoppage).where(Stoppage.box_id == box_id).order_by(Stoppage.id.desc()).limit(1)
    found: Stoppage | None = await session.scalar(query)
    return found


async def unfinished(session: AsyncSession, cell: str) -> list[tuple[Stoppage, Job]]:
    """Every open stoppage of the cell's boxes with its job, oldest first."""
    query = select(Stoppage, Job).join(Job, Job.id == Stoppage.job_id).join(Box, Box.id == Stoppage.box_id)
    query = query.where(Stoppage.released_at.is_(None), Box.cell == cell)
    return [(stoppage, job) for stoppage, job in await session.execute(query.order_by(Stoppage.id))]


async def lift(session: AsyncSession, box_id: str, actor: str) -> bool:
    """The box's open stoppage, if any, holds it no longer; whether there was one. The caller holds the box's lock."""
    found = await open_of(session, box_id, lock=True)
    if found is None or found.lifted_at is not None:
        return False
    found.lifted_at, found.lifted_by = clock.now(), actor
    return True


def agreed(stoppage: Stoppage, job: Job, rev: int, state: str) -> bool:
    """Whether an Application that carries ``rev`` and ``state`` says what Git is to say: Argo CD may go on.

    A later job may have come before this one and left the box running, so the rev alone is not believed.
    """
    stops = state in set(State) - RUNNING
    return rev >= job.rev and (stops or stoppage.lifted_at is not None)


async def failed(session: AsyncSession, stoppage_id: str, error: CloudError | None) -> None:
    """What holds the stoppage up is on record; None: nothing does."""
    (await session.get_one(Stoppage, stoppage_id)).error = None if error is None else str(error)


async def halted(session: AsyncSession, stoppage_id: str) -> bool:
    """No pod of the box is left; whether that is news. The caller holds the box's lock."""
    row = await session.get_one(Stoppage, stoppage_id, with_for_update=True, populate_existing=True)
    if row.halted_at is not None:
        return False
    row.halted_at = clock.now()
    return True


async def released(session: AsyncSession, stoppage_id: str) -> bool:
    """Argo CD follows Git again; whether that is news. The caller holds the box's lock."""
    row = await session.get_one(Stoppage, stoppage_id, with_for_update=True, populate_existing=True)
    if row.released_at is not None:
        return False
    row.released_at, row.error = clock.now(), None
    return True
