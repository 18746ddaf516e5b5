"""Standby boxes for tests: made by the pool's own verbs, and told ready as writer, watcher and box would tell."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.domain import boxes, jobs, lifecycle
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.lifecycle import Mint, Why

WHY = Why("system:standby")


async def made(session: AsyncSession, mint: Mint, plan: str = "pro") -> Box:
    """A standby that nobody has committed yet."""
    return await boxes.get(session, (await lifecycle.prepare(session, mint, plan, WHY)).box_id)


async def ready(session: AsyncSession, mint: Mint, plan: str = "pro") -> Box:
    """A standby that a purchase can claim."""
    box = await made(session, mint, plan)
    await serve(session, box)
    return box


async def serve(session: AsyncSession, box: Box) -> None:
    """Git, the cluster and the gateway have all that is wanted of the box."""
    for job in await jobs.open_of(session, box.id):
        jobs.committed(job, "a" * 40)
        jobs.done(job)
    box.live_profile = box.ready_profile = box.profile
    box.synced_rev, box.ready_at, box.ready_release = box.rev, clock.now(), box.release
    await session.flush()


async def verbs(session: AsyncSession, box_id: str) -> list[str]:
    """The verbs of the box's jobs, by rev."""
    return [job.verb for job in await session.scalars(select(Job).where(Job.box_id == box_id).order_by(Job.rev))]
