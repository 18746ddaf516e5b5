"""Another try for a job that was given to a human: the box's order holds, and nothing that is still wanted gets lost.

A job that was refused for good does not hold up its box, so Git may be past its rev by now, and no rev goes back.
"""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.errors import Conflict, NotFound
from controller.domain import boxes, connections, jobs
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState, Verb
from controller.domain.lifecycle import Why

_AGAIN = {
    Verb.PROVISION.value: Verb.REACTIVATE.value,
    Verb.PREPARE.value: Verb.REACTIVATE.value,
    Verb.CLAIM.value: Verb.UPDATE_CONNECTIONS.value,
}
"""Verbs that are said once in a box's life: a second would tell the customer a second time that the agent is there."""

_AWAITED = {
    Verb.UPDATE_CONNECTIONS.value: ("profile",),
    Verb.UPGRADE.value: ("release",),
    Verb.RESTORE.value: ("release",),
}
"""The fields that a verb's job has to name, since what the gateway reports is held against them."""

_IN_GIT = (JobState.COMMITTED, JobState.SYNCED, JobState.DONE)


async def retry(session: AsyncSession, job_id: str) -> Job:
    """Queue a failed job again, with a fresh count.

    One that a later job has overtaken becomes the box's newest, with those of its fields that the box still wants so.
    Raises NotFound; Conflict for a job that has not failed, or of which later jobs have left nothing.
    """
    known = await session.get(Job, job_id)
    if known is None:
        raise NotFound("job_unknown")
    box = await boxes.get(session, known.box_id, lock=True)
    job = await session.get_one(Job, job_id, with_for_update=True, populate_existing=True)
    if job.state != JobState.FAILED:
        raise Conflict("job_not_failed", state=job.state)
    later = exists().where(Job.box_id == box.id, Job.rev > job.rev, Job.state.in_(_IN_GIT))
    if await session.scalar(select(later)):
        await _renew(session, box, job)
    jobs.retry(job)
    return job


async def renew(session: AsyncSession, box: Box, why: Why) -> Job:
    """A job that raises the box's rev and changes nothing: Argo CD begins anew with what it has given up or missed.

    It is done when the box's newest job would be. The caller holds the box's lock. Raises Conflict for a box that is
    retired, or whose newest job has not reached Git yet.
    """
    # what was rejected never reached Git, and the box is wanted without it
    standing = select(Job).where(Job.box_id == box.id, Job.state != JobState.REJECTED).order_by(Job.rev.desc())
    [newest] = await session.scalars(standing.limit(1))
    if newest.verb == Verb.RETIRE or newest.state not in _IN_GIT:
        raise Conflict("box_not_renewable", box=box.id, verb=newest.verb, state=newest.state)
    verb = _AGAIN.get(newest.verb, newest.verb)
    box.rev += 1
    fields = {"rev": box.rev, **{name: getattr(box, name) for name in _AWAITED.get(verb, ())}}
    job = Job(box_id=box.id, verb=verb, rev=box.rev, fields=fields, actor=why.actor, cause=why.cause)
    session.add(job)
    await session.flush()
    return job


async def _renew(session: AsyncSession, box: Box, job: Job) -> None:
    wanted = boxes.spec(box, await connections.in_manifest(session, box.id))
    kept = {name: value for name, value in job.fields.items() if name != "rev" and wanted.get(name) == value}
    # a verb that moves the box to another state is nothing without it
    if not kept or ("state" in job.fields and "state" not in kept):
        raise Conflict("job_overtaken", box=box.id, rev=job.rev)
    box.rev += 1
    job.rev, job.fields = box.rev, {"rev": box.rev, **kept}
