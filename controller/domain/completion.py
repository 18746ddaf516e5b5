"""When a job is done: what the cluster runs and what the box reports, put together in one place."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.domain import boxes, jobs, letters, notices, progress
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState, Verb

NEEDS_GATEWAY = frozenset({Verb.PROVISION.value, Verb.PREPARE.value, Verb.REACTIVATE.value})
"""Verbs after which the gateway itself must have reported ready, with its own token."""

STARTS = frozenset({Verb.PROVISION.value, Verb.CLAIM.value})
"""Verbs at whose end the customer's agent is live."""


async def report_ready(
    session: AsyncSession, box_id: str, *, profile: int, gateway: str, release: str | None = None
) -> list[str]:
    """The box's gateway runs ``profile`` of ``release``; jobs that waited for it are done.

    The ids of the notices that this wrote. A release that does not say which it is gives None.
    """
    box = await boxes.get(session, box_id, lock=True)
    box.ready_at, box.ready_profile = clock.now(), max(profile, box.ready_profile)
    box.ready_release = release
    await progress.add(session, box.id, "ready", profile=profile, gateway=gateway)
    return await finish(session, box)


async def finish(session: AsyncSession, box: Box) -> list[str]:
    """Close the box's synced jobs that wait for nothing more; the ids of the notices that tell the customer so.

    The caller holds the box's row lock, and rings for the notices after the commit.
    """
    written = []
    for job in await jobs.open_of(session, box.id, JobState.SYNCED):
        if _complete(job, box):
            jobs.done(job)
            await progress.add(session, box.id, "done", job=job.id, verb=job.verb, rev=job.rev)
            if job.verb in STARTS:
                written += await notices.write(session, box, letters.AGENT_LIVE, job.id)
    return written


def _complete(job: Job, box: Box) -> bool:
    if box.synced_rev > job.rev:
        return True
    if job.verb == Verb.CLAIM:
        # It ran before and stayed ready: only the profile tells that it is the customer's now.
        return bool(box.ready_profile >= job.fields["profile"])
    if job.verb == Verb.UPDATE_CONNECTIONS:
        return not box.runs() or box.ready_profile >= job.fields["profile"]
    if job.verb in {Verb.UPGRADE, Verb.RESTORE}:
        # by name, because until its pod is replaced the former release may report a new profile
        return not box.runs() or (box.ready_at is not None and box.ready_release == job.fields["release"])
    if job.verb not in NEEDS_GATEWAY:
        return True
    return box.ready_at is not None
