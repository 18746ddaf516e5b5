"""Everything unfinished that does not move, with the reason: invariant I12, as ops see it.

Nothing here is stored: it follows from the rows of jobs, stoppages, sightings and strays, and ends when its cause does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.domain import strays
from controller.domain.jobs import STUCK_AFTER, Job, JobState
from controller.domain.sightings import GAVE_UP, Sighting
from controller.domain.stoppages import Stoppage
from controller.domain.strays import Stray

HALT_WITHIN = timedelta(minutes=1)
"""A box that an admin stopped has no pod by then: its grace is 45 s."""


class Kind(StrEnum):
    """What is amiss."""

    JOB_FAILED = "job_failed"
    NEEDS_APPROVAL = "needs_approval"
    NOT_COMMITTED = "not_committed"
    NOT_SYNCED = "not_synced"
    NOT_READY = "not_ready"
    SYNC_FAILED = "sync_failed"
    DRIFTED = "drifted"
    DEGRADED = "degraded"
    NOT_HALTED = "not_halted"
    NOT_RELEASED = "not_released"
    STRAY = "stray"


@dataclass(frozen=True)
class Condition:
    """One thing that does not move: since when, why, and the job or stoppage that waits."""

    kind: Kind
    box_id: str
    since: datetime
    reason: str
    waits: str | None = None


async def of(session: AsyncSession, box_id: str | None = None) -> list[Condition]:
    """All conditions, of one box if asked, oldest first."""
    found = [one async for one in _of_jobs(session, box_id)]
    found += [one async for one in _of_sightings(session, box_id)]
    found += [one async for one in _of_stoppages(session, box_id)]
    found += [one async for one in _of_strays(session, box_id)]
    return sorted(found, key=lambda one: (one.since, one.box_id, one.kind))


async def _of_jobs(session: AsyncSession, box_id: str | None) -> AsyncIterator[Condition]:
    before = clock.now() - STUCK_AFTER
    late = or_(
        and_(Job.state == JobState.QUEUED, Job.created_at < before),
        and_(Job.state.in_((JobState.COMMITTED, JobState.SYNCED)), Job.committed_at < before),
    )
    query = select(Job).where(or_(late, Job.state.in_((JobState.FAILED, JobState.NEEDS_APPROVAL))))
    for job in await session.scalars(query if box_id is None else query.where(Job.box_id == box_id)):
        kind, since, told = _judged(job)
        yield Condition(kind, job.box_id, since, told, job.id)


def _judged(job: Job) -> tuple[Kind, datetime, str]:
    what = f"{job.verb} at rev {job.rev}"
    state = JobState(job.state)
    if state == JobState.FAILED:
        return Kind.JOB_FAILED, job.created_at, job.error or what
    if state == JobState.NEEDS_APPROVAL:
        return Kind.NEEDS_APPROVAL, job.created_at, job.error or what
    if state == JobState.QUEUED:
        return Kind.NOT_COMMITTED, job.created_at, job.error or f"{what} is not in Git"
    since = job.committed_at or job.created_at
    if state == JobState.COMMITTED:
        return Kind.NOT_SYNCED, since, job.error or f"the cluster does not run {what}"
    return Kind.NOT_READY, job.synced_at or since, f"{what} is applied, and the gateway has not reported"


async def _of_sightings(session: AsyncSession, box_id: str | None) -> AsyncIterator[Condition]:
    amiss = or_(Sighting.drifted_since.is_not(None), Sighting.phase.in_(GAVE_UP), Sighting.health == "Degraded")
    query = select(Sighting).where(amiss)
    for seen in await session.scalars(query if box_id is None else query.where(Sighting.box_id == box_id)):
        told = seen.message or f"Argo CD: {seen.sync}, {seen.health}, {seen.phase or 'never synced'}"
        if seen.phase in GAVE_UP:
            yield Condition(Kind.SYNC_FAILED, seen.box_id, seen.seen_at, f"rev {seen.rev}: {told}")
        if seen.drifted_since is not None:
            yield Condition(Kind.DRIFTED, seen.box_id, seen.drifted_since, told)
        if seen.health == "Degraded":
            yield Condition(Kind.DEGRADED, seen.box_id, seen.seen_at, f"rev {seen.rev} is Degraded")


async def _of_stoppages(session: AsyncSession, box_id: str | None) -> AsyncIterator[Condition]:
    query = select(Stoppage).where(Stoppage.released_at.is_(None))
    now = clock.now()
    for one in await session.scalars(query if box_id is None else query.where(Stoppage.box_id == box_id)):
        if one.halted_at is None and one.lifted_at is None and now - one.asked_at > HALT_WITHIN:
            told = one.error or "a pod is still there"
            yield Condition(Kind.NOT_HALTED, one.box_id, one.asked_at, told, one.id)
        if now - one.asked_at > STUCK_AFTER:
            told = one.error or "Git does not say what was ordered, so Argo CD is still held off"
            yield Condition(Kind.NOT_RELEASED, one.box_id, one.asked_at, told, one.id)


async def _of_strays(session: AsyncSession, box_id: str | None) -> AsyncIterator[Condition]:
    seen = or_(Stray.error.is_not(None), Stray.seen_at < clock.now() - STUCK_AFTER)
    query = select(Stray).where(strays.unfinished(), seen)
    for one in await session.scalars(query if box_id is None else query.where(Stray.box_id == box_id)):
        told = f"cell {one.cell} has no such box and something of one: {one.error or 'its file is in Git'}"
        yield Condition(Kind.STRAY, one.box_id, one.seen_at, told)
