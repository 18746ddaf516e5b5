"""How much the git writer does to boxes unattended: past a cap a job waits for an approval, and other jobs go on.

Counted in boxes, not jobs: one that is condemned, approved for deletion and erased within the hour counts once. A box
that nobody owns is not counted: its end takes nothing from anybody, and a pool that is renewed for a new release must
not use up what customers' cancellations need. A job
is judged once, when it is first claimed, in the claim's transaction and under a lock of the database. So neither a
restart nor a second writer counts it again or lets more through. What an admin approved uses up nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from pydantic import Field
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock, db
from controller.core.settings import Group
from controller.domain import jobs
from controller.domain.boxes import Box
from controller.domain.jobs import ApprovalNeeded, Job, JobState, Verb

REACHED = "cap_reached"
LOCK = "job-caps"
HOUR = timedelta(hours=1)
ENDINGS = (Verb.DESTROY.value, Verb.APPROVE.value, Verb.ERASE.value)
"""Verbs that take a box from its customer, step by step."""


class CapSettings(Group):
    """How many boxes may be ended or stopped before somebody has to look. Boxes; 0 turns a cap off."""

    cap_endings_a_batch: int = Field(default=25, ge=0)
    """Condemned, approved for deletion or destroyed by one push. 25: more than one sweep ends (20), half a batch."""

    cap_endings_an_hour: int = Field(default=100, ge=0)
    """The same within an hour. 100: of 10 000 boxes that 5 % leave a month, some 35 steps a day are expected."""

    cap_dunning_an_hour: int = Field(default=100, ge=0)
    """Suspended because Stripe says unpaid. 100: of 10 000 boxes some 10 a day; a wrong answer means all at once."""

    cap_retirements_a_batch: int = Field(default=25, ge=0)
    """Files of destroyed boxes taken out of Git by one push. 25: more than one sweep raises (20), half a batch."""

    cap_retirements_an_hour: int = Field(default=100, ge=0)
    """The same within an hour. 100: as many as may be ended in one, a week before."""


DEFAULTS = CapSettings.model_construct()
"""The caps of a writer that was given none, whatever the environment says."""


class Kind(StrEnum):
    """What is capped; ``endings``: see ENDINGS, ``dunning``: suspensions that Stripe's facts led to, ``retirements``:
    files that leave Git."""

    ENDINGS = "endings"
    DUNNING = "dunning"
    RETIREMENTS = "retirements"


@dataclass(frozen=True)
class Claimed:
    """``due``: what may go into the next commits; ``parked``: what just went past a cap."""

    due: list[Job] = field(default_factory=list)
    parked: list[Job] = field(default_factory=list)


@dataclass
class _Count:
    """One kind: its caps, and the boxes that this hour and this batch have so far."""

    kind: Kind
    a_batch: int
    an_hour: int
    hour: set[str] = field(default_factory=set)
    batch: set[str] = field(default_factory=set)

    def full(self, box_id: str) -> bool:
        """Whether another box is one too many for the batch."""
        return 0 < self.a_batch < len(self.batch | {box_id})

    def excess(self, box_id: str) -> ApprovalNeeded | None:
        """Why the box is one too many."""
        if self.full(box_id):
            return ApprovalNeeded(REACHED, cap=f"{self.kind}_a_batch", limit=self.a_batch)
        if 0 < self.an_hour < len(self.hour | {box_id}):
            return ApprovalNeeded(REACHED, cap=f"{self.kind}_an_hour", limit=self.an_hour)
        return None


def kind(job: Job) -> Kind | None:
    """What the job is counted as, if it is; for what people merged, their merge is the approval."""
    if job.actor.startswith(jobs.BY_OPS):
        return None
    if job.verb in ENDINGS:
        return Kind.ENDINGS
    if job.verb == Verb.RETIRE:
        return Kind.RETIREMENTS
    return Kind.DUNNING if job.verb == Verb.SUSPEND and job.actor == "stripe" else None


async def claim(session: AsyncSession, settings: CapSettings, limit: int = 50, *, mixed: bool = False) -> Claimed:
    """Jobs for Git as ``jobs.claim`` gives them, less those that the caps hold."""
    parked: list[Job] = []
    while batch := await jobs.claim(session, limit, mixed=mixed):
        if not any(map(kind, batch)):
            return Claimed(batch, parked)
        await db.lock(session, LOCK)
        found = await _screened(session, settings, batch)
        parked += found.parked
        if found.due:
            return Claimed(found.due, parked)
    return Claimed([], parked)


async def _screened(session: AsyncSession, settings: CapSettings, batch: Sequence[Job]) -> Claimed:
    """The batch as it is now that nobody else claims, each box's jobs only up to the first that must not go."""
    again = select(Job).where(Job.id.in_([job.id for job in batch])).execution_options(populate_existing=True)
    (await session.scalars(again)).all()
    counts, owned = await _counts(session, settings), await _owned(session, batch)
    claimed, held = Claimed(), set[str]()
    for job in batch:
        counted = kind(job) if job.box_id in owned else None
        if job.box_id in held or job.state != JobState.QUEUED:
            held.add(job.box_id)
        elif counted is None or REACHED in jobs.approved(job) or _let_in(job, counts[counted]):
            claimed.due.append(job)
        else:
            held.add(job.box_id)
            if job.state == JobState.NEEDS_APPROVAL:
                claimed.parked.append(job)
    return claimed


async def _owned(session: AsyncSession, batch: Sequence[Job]) -> set[str]:
    ids = {job.box_id for job in batch}
    return set(await session.scalars(select(Box.id).where(Box.id.in_(ids), Box.customer_id.is_not(None))))


def _let_in(job: Job, count: _Count) -> bool:
    """Whether the job may go now; parked if it may not, unless it was let in before and only this batch is full."""
    if job.admitted_at is not None:
        if count.full(job.box_id):
            return False
    elif excess := count.excess(job.box_id):
        jobs.park(job, excess)
        return False
    job.admitted_at = job.admitted_at or clock.now()
    count.batch.add(job.box_id)
    count.hour.add(job.box_id)
    return True


async def _counts(session: AsyncSession, settings: CapSettings) -> dict[Kind, _Count]:
    """What was let in and is on its way, or in Git for less than an hour."""
    counts = {
        Kind.ENDINGS: _Count(Kind.ENDINGS, settings.cap_endings_a_batch, settings.cap_endings_an_hour),
        Kind.DUNNING: _Count(Kind.DUNNING, 0, settings.cap_dunning_an_hour),
        Kind.RETIREMENTS: _Count(Kind.RETIREMENTS, settings.cap_retirements_a_batch, settings.cap_retirements_an_hour),
    }
    recent = or_(Job.committed_at > clock.now() - HOUR, and_(Job.committed_at.is_(None), Job.state == JobState.QUEUED))
    for job in await session.scalars(select(Job).where(Job.admitted_at.is_not(None), recent)):
        if counted := kind(job):
            counts[counted].hour.add(job.box_id)
    return counts
