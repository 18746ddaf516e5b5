"""The last step of a box: its file leaves Git and its empty Application the cluster. Its rows stay, for the audit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column

from controller.core import clock
from controller.core.db import Base
from controller.domain import boxes, jobs, progress, sightings
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState, Verb
from controller.domain.states import State

ACTOR = "system:retirement"
SINCE = "destroyed_in"
"""The field of a job that names the commit since which Git calls the box destroyed."""

IN_GIT = (JobState.COMMITTED, JobState.SYNCED, JobState.DONE)
ASK_AGAIN = timedelta(minutes=1)
"""A set that has not read Git by then is asked once more: after an error the same request moves nothing."""


class Retirement(Base):
    """How far a retirement is in the cluster, by its job; there is none before its commit."""

    __tablename__ = "retirements"

    job_id: Mapped[str] = mapped_column(ForeignKey("operator_jobs.id"), primary_key=True)
    asked_at: Mapped[datetime] = mapped_column(default=clock.now)
    """When the box's ApplicationSet was last asked to read Git."""

    deleted_at: Mapped[datetime | None]
    """When the Application was deleted, or found to be gone; a set that reads Git late may bring it back."""


async def raise_due(session: AsyncSession, after: timedelta, limit: int = 20) -> list[Job]:
    """A job for each box that has been destroyed for ``after``, with nothing of it left to do.

    Destroyed since its newest job was done. A box whose newest job failed waits for a human.
    """
    newest, other = aliased(Job), aliased(Job)
    failed = and_(other.rev == Box.rev, other.state == JobState.FAILED)
    busy = exists().where(other.box_id == Box.id, or_(other.state.in_(jobs.OPEN), failed))
    query = (
        select(Box, newest.commit_sha)
        .join(newest, and_(newest.box_id == Box.id, newest.rev == Box.rev))
        .where(Box.state == State.DESTROYED, Box.retired_at.is_(None), newest.verb != Verb.RETIRE)
        .where(newest.state == JobState.DONE, newest.done_at <= clock.now() - after, ~busy)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True, of=Box)
    )
    made = []
    for box, sha in (await session.execute(query)).all():
        box.rev += 1
        fields = {"rev": box.rev, SINCE: sha}
        made.append(Job(box_id=box.id, verb=Verb.RETIRE.value, rev=box.rev, fields=fields, actor=ACTOR))
        session.add(made[-1])
    await session.flush()
    return made


async def begun(session: AsyncSession, box_ids: Iterable[str]) -> set[str]:
    """Those of the boxes whose file a commit of ours has taken out of Git, as far as that is recorded."""
    query = select(Job.box_id).where(Job.box_id.in_(set(box_ids)), Job.verb == Verb.RETIRE, Job.state.in_(IN_GIT))
    gone = select(Box.id).where(Box.id.in_(set(box_ids)), Box.retired_at.is_not(None))
    return {*(await session.scalars(query)), *(await session.scalars(gone))}


async def unfinished(session: AsyncSession, limit: int = 50) -> list[tuple[Job, str]]:
    """Jobs whose commit took the file away and whose Application may still be there, each with its box's cell.

    The oldest of each cell, ``limit`` at most: those of a cell that is away keep no other cell's from their turn.
    """
    turn = func.row_number().over(partition_by=Box.cell, order_by=Job.committed_at)
    open_ = select(Job.id, Box.cell, turn.label("turn")).join(Box, Box.id == Job.box_id)
    listed = open_.where(Job.state == JobState.COMMITTED, Job.verb == Verb.RETIRE).subquery()
    query = select(Job, listed.c.cell).join(listed, listed.c.id == Job.id).where(listed.c.turn <= limit)
    return [(job, cell) for job, cell in await session.execute(query.order_by(Job.committed_at))]


async def over(session: AsyncSession, box_id: str) -> None:
    """Nothing of the box is left outside of Postgres; its open retirement is done."""
    box = await boxes.get(session, box_id, lock=True)
    await sightings.forget(session, box.id)
    if box.retired_at is None:
        box.retired_at = clock.now()
        await progress.add(session, box.id, "retired")
    for job in await jobs.open_of(session, box.id, JobState.COMMITTED):
        if job.verb == Verb.RETIRE:
            jobs.synced(job)
            jobs.done(job)
            box.synced_rev = max(box.synced_rev, job.rev)
