"""Another try for a job that was given to a human: the box's order holds, and nothing that is still wanted gets lost.

A job that was refused for good does not hold up its box, so Git may be past its rev by now, and no rev goes back.
"""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.errors import Conflict, NotFound
from controller.domain import boxes, connections, jobs
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState

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


async def _renew(session: AsyncSession, box: Box, job: Job) -> None:
    wanted = boxes.spec(box, await connections.in_manifest(session, box.id))
    kept = {name: value for name, value in job.fields.items() if name != "rev" and wanted.get(name) == value}
    # a verb that moves the box to another state is nothing without it
    if not kept or ("state" in job.fields and "state" not in kept):
        raise Conflict("job_overtaken", box=box.id, rev=job.rev)
    box.rev += 1
    job.rev, job.fields = box.rev, {"rev": box.rev, **kept}
