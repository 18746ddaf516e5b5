"""Operator jobs: "box B wants these fields at revision N". The outbox, the schedule and the audit row in one.

queued ──► committed (sha) ──► synced ──► done
   ├─────────┴────────────────────┴─────► failed (a human looks; the reason is in ``error``)
   └──► needs_approval (a cap or guard holds it, and its box's later jobs; ``approve`` queues it again)
failed, needs_approval ──► rejected (a human said that it shall not be: ``rejections``)
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column

from controller.core import clock, ids
from controller.core.db import Base
from controller.core.errors import CloudError, Conflict, Invalid, Permanent
from controller.domain import attempts

BURST = timedelta(seconds=2)
"""Changes of connections closer together than this share a commit, but for the first, which goes at once."""

BY_OPS = "ops:"
"""How the actor of a job begins that confirms a commit of people; their address follows."""

LONGEST_ACTOR = 200
"""Characters of a name in a commit's trailer."""

STUCK_AFTER = timedelta(minutes=15)
"""A committed job that is not done by then is shown as stuck (invariant I12)."""


class Verb(StrEnum):
    """What a job does to its box; ``approve`` and ``erase`` finish a ``destroy`` after the retention.

    ``prepare`` makes a standby, and ``claim`` gives it to who has paid. ``adopt`` confirms what ops changed, where no
    other verb says it; ``upgrade`` is a rollout's, back and forth. ``restore`` takes a box's data back too, ``discard``
    gives up the volume that this left. ``retire`` takes the file of a destroyed one away.
    """

    PROVISION = "provision"
    PREPARE = "prepare"
    CLAIM = "claim"
    RESIZE = "resize"
    SUSPEND = "suspend"
    REACTIVATE = "reactivate"
    UPDATE_CONNECTIONS = "update_connections"
    UPGRADE = "upgrade"
    DESTROY = "destroy"
    RESTORE = "restore"
    DISCARD = "discard"
    APPROVE = "approve"
    ERASE = "erase"
    ADOPT = "adopt"
    RETIRE = "retire"


class JobState(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"
    NEEDS_APPROVAL = "needs_approval"
    COMMITTED = "committed"
    SYNCED = "synced"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"


class ApprovalNeeded(Permanent):
    """Raised when a job may go on only after a human has said so; the code names what is to be approved."""


OPEN = (JobState.QUEUED, JobState.NEEDS_APPROVAL, JobState.COMMITTED, JobState.SYNCED)


class Job(Base):
    """One intent for one box, carried by exactly one commit."""

    __tablename__ = "operator_jobs"
    __table_args__ = (
        UniqueConstraint("box_id", "rev"),
        Index("ix_operator_jobs_open", "state", "next_attempt_at"),
        Index("ix_operator_jobs_admitted", "committed_at", postgresql_where="admitted_at IS NOT NULL"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.new)
    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"), index=True)
    verb: Mapped[str]
    rev: Mapped[int]
    fields: Mapped[dict[str, Any]]
    """The spec fields that it sets, by dotted path; the whole spec for ``provision``; ``retire``: see there."""

    actor: Mapped[str]
    """Who wanted it: ``stripe``, ``admin``, ``system:retention``, ``ops:<address>`` for the author of a commit."""

    cause: Mapped[str | None]
    """The event, request or commit that led to it."""

    reason: Mapped[str | None]
    """Why, in an admin's words, for the audit; it stands in Postgres alone, never in Git."""

    state: Mapped[str] = mapped_column(default=JobState.QUEUED.value)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(default=clock.now)
    error: Mapped[str | None]
    approvals: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """What a human has to say yes to, by the code of its ApprovalNeeded: None, or ``by`` whom and ``at`` what time."""

    admitted_at: Mapped[datetime | None]
    """When the caps let it through; None for a job that they do not count, or that an admin let through."""

    base_sha: Mapped[str | None]
    """The tip of ``main`` before the first push that may carry it: where to look for it afterwards."""

    commit_sha: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    committed_at: Mapped[datetime | None]
    synced_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]


async def claim(session: AsyncSession, limit: int = 50, *, mixed: bool = False) -> list[Job]:
    """The oldest jobs due for Git, or those of any boxes if ``mixed``, at most ``limit``, each box's by its revs.

    A job whose box has an older one still queued or parked waits with it, so no rev overtakes another.
    """
    older = aliased(Job)
    behind = exists().where(older.box_id == Job.box_id, older.rev < Job.rev, older.state == JobState.NEEDS_APPROVAL)
    waiting = select(Job.box_id).where(Job.state == JobState.QUEUED, Job.next_attempt_at > clock.now())
    # By the box's oldest, not by each job's own time: the clocks of two processes may differ.
    oldest = func.min(Job.created_at).over(partition_by=Job.box_id)
    # another order at each call, the same for all jobs of a box
    order = func.md5(Job.box_id + ids.new()) if mixed else oldest
    query = (
        select(Job)
        .where(Job.state == JobState.QUEUED, Job.next_attempt_at <= clock.now())
        .where(Job.box_id.not_in(waiting), ~behind)
        .order_by(order, Job.box_id, Job.rev)
        .limit(limit)
    )
    return list(await session.scalars(query))


async def open_of(session: AsyncSession, box_id: str, *states: JobState) -> list[Job]:
    """The box's jobs in ``states`` (all open ones by default), by rev."""
    query = select(Job).where(Job.box_id == box_id, Job.state.in_(states or OPEN)).order_by(Job.rev)
    return list(await session.scalars(query))


async def untouched(session: AsyncSession, box_id: str, verb: Verb) -> Job | None:
    """The box's newest job, locked, if it has that verb and no writer has begun with it: its fields may still change.

    A writer begins by noting a job's base, under the same lock. The caller holds the box's row lock.
    """
    newest = select(func.max(Job.rev)).where(Job.box_id == box_id).scalar_subquery()
    query = (
        select(Job)
        .where(Job.box_id == box_id, Job.rev == newest, Job.verb == verb.value)
        .where(Job.state == JobState.QUEUED, Job.base_sha.is_(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found: Job | None = await session.scalar(query)
    return found


async def renumber(session: AsyncSession, box_id: str, above: int) -> int:
    """Give the jobs that come after all that a writer has begun with revs above ``above``; by how much they moved.

    Those that wait for an approval move too: nobody pushes them. Their order stays. The caller holds the box's row
    lock and the writer's.
    """
    query = (
        select(Job)
        .where(Job.box_id == box_id, Job.state.in_((JobState.QUEUED, JobState.NEEDS_APPROVAL)))
        .order_by(Job.rev.desc())
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = list(takewhile(_is_nobodys, await session.scalars(query)))
    shift = max(above + 1 - found[-1].rev, 0) if found else 0
    for job in found if shift else ():
        job.rev += shift
        job.fields = {**job.fields, "rev": job.rev}
        await session.flush()
    return shift


def _is_nobodys(job: Job) -> bool:
    """Whether no push may carry the job."""
    return job.base_sha is None or job.state == JobState.NEEDS_APPROVAL


async def after_burst(session: AsyncSession, box_id: str, verb: Verb) -> datetime:
    """When a new job of the verb is due: now, or when the burst that the box's last one began is over."""
    last = await session.scalar(select(func.max(Job.created_at)).where(Job.box_id == box_id, Job.verb == verb.value))
    return max(clock.now(), last + BURST) if last else clock.now()


def committed(job: Job, sha: str) -> None:
    """The job is in ``main`` as ``sha``."""
    job.state = JobState.COMMITTED
    job.commit_sha = sha
    job.committed_at = clock.now()
    job.error = None


def synced(job: Job) -> None:
    """The cluster runs the job's rev or a newer one."""
    job.state = JobState.SYNCED
    job.synced_at = clock.now()


def done(job: Job) -> None:
    """Nothing is left to do; the customer may be told."""
    job.state = JobState.DONE
    job.done_at = clock.now()


def failed(job: Job, error: CloudError) -> None:
    """Count a failed attempt: schedule the next, or give the job to a human, who may have to approve it."""
    job.attempts += 1
    job.error = str(error)
    if isinstance(error, ApprovalNeeded):
        park(job, error)
    elif attempts.used_up(error, job.attempts):
        job.state = JobState.FAILED
    else:
        job.next_attempt_at = clock.now() + attempts.wait(error, attempts.backoff(job.attempts))


def waits(job: Job, error: CloudError) -> None:
    """The job waits for something that is no fault of its own: shown, and no attempt used up."""
    job.error = str(error)


def is_stuck(job: Job) -> bool:
    """Whether the cluster or the box should long have done what the job's commit says."""
    if job.committed_at is None or job.state not in {JobState.COMMITTED, JobState.SYNCED}:
        return False
    return clock.now() - job.committed_at > STUCK_AFTER


async def unblame(session: AsyncSession, job_ids: Iterable[str]) -> None:
    """Queue those of the jobs again that have failed: it was not their fault."""
    query = select(Job).where(Job.id.in_(list(job_ids)), Job.state == JobState.FAILED).with_for_update()
    for job in await session.scalars(query.execution_options(populate_existing=True)):
        retry(job)


def retry(job: Job) -> None:
    """Queue a failed job again, now, with a fresh count; the caps judge it anew."""
    job.state = JobState.QUEUED
    job.attempts = 0
    job.admitted_at = None
    job.next_attempt_at = clock.now()


def park(job: Job, needed: ApprovalNeeded) -> None:
    """The job waits until somebody approves what is ``needed``; later ones of its box wait with it."""
    job.state = JobState.NEEDS_APPROVAL
    job.error = str(needed)
    job.approvals = {**job.approvals, needed.code: None}


async def approve(session: AsyncSession, job: Job, actor: str) -> None:
    """Queue a parked job again, now and past what it was parked for; ``actor`` ends in the commit's trailers.

    Raises Conflict if it waits for no approval (any more), Invalid if the actor's name does not fit in a line.
    """
    check_actor(actor)
    await session.flush()
    await session.refresh(job, with_for_update=True)
    if job.state != JobState.NEEDS_APPROVAL:
        raise Conflict("job_not_parked", job=job.id, state=job.state)
    said = {"by": actor, "at": clock.now().isoformat()}
    job.approvals = {code: before or said for code, before in job.approvals.items()}
    job.error = None
    retry(job)


def check_actor(actor: str) -> None:
    """Return if the name of who decided something fits in a line.

    Raises Invalid otherwise.
    """
    if not actor.isprintable() or not 0 < len(actor) <= LONGEST_ACTOR:
        raise Invalid("actor_malformed")


def approved(job: Job) -> dict[str, str]:
    """What was approved, by code, and by whom."""
    return {code: said["by"] for code, said in job.approvals.items() if said is not None}
