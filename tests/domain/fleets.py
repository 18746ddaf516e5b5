"""A fleet of boxes on one release, each in a ring, and what Git, the cluster and gateways do to them."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.errors import Permanent
from controller.domain import boxes, completion, jobs, lifecycle, rolling, rollouts
from controller.domain.boxes import Box
from controller.domain.jobs import ApprovalNeeded, Job, JobState
from controller.domain.lifecycle import Why
from controller.domain.releases import Move, Rollout
from controller.domain.rollouts import Pace
from tests import factories

OLD, NEW = "2026.11.1", "2026.12.1"
QUICK = Pace(soak=timedelta(0))


async def box(session: AsyncSession, ring: int = 2, state: str = "active") -> Box:
    """A box that runs well on the old release, in that ring."""
    mint = factories.mint()
    draft = await factories.draft(session, mint)
    job = await lifecycle.converge(session, mint, factories.facts(draft.id), Why("stripe", "evt_1"))
    assert job is not None
    made = await boxes.get(session, job.box_id, lock=True)
    made.ring, made.state, made.release = ring, state, OLD
    await settle(session, made)
    return made


async def committed(session: AsyncSession, box: Box) -> None:
    """The writer lands the box's jobs."""
    for job in await jobs.open_of(session, box.id, JobState.QUEUED):
        jobs.committed(job, "a" * 40)
    await session.flush()


async def applied(session: AsyncSession, box: Box) -> None:
    """The cluster runs the box's newest rev and shows it as healthy."""
    await committed(session, box)
    for job in await jobs.open_of(session, box.id, JobState.COMMITTED):
        jobs.synced(job)
    box.synced_rev, box.ill_since, box.illness = box.rev, None, None
    await completion.finish(session, box)
    await session.flush()


async def settle(session: AsyncSession, box: Box) -> None:
    """The cluster runs the box's newest rev, and its gateway reports ready."""
    await applied(session, box)
    await reports(session, box, box.release)


async def ill(session: AsyncSession, box: Box, why: str = "ComparisonError it does not render") -> None:
    """The cluster shows the box as not healthy, with that reason."""
    box.ill_since, box.illness = clock.now(), why
    await session.flush()


async def refused(session: AsyncSession, box: Box) -> None:
    """The box's waiting job cannot be written."""
    for job in await jobs.open_of(session, box.id, JobState.QUEUED):
        jobs.failed(job, Permanent("guard_breached"))
    await session.flush()


async def begun(session: AsyncSession, pace: Pace = QUICK) -> Rollout:
    """A rollout of the new release after its first step."""
    rollout = await rollouts.start(session, NEW, pace, "admin")
    await rolling.step(session)
    await session.flush()
    return rollout


async def on(session: AsyncSession, release: str = NEW) -> set[str]:
    """The boxes that are meant to have the release."""
    return set(await session.scalars(select(Box.id).where(Box.release == release)))


async def moved(session: AsyncSession, rollout: Rollout, box: Box) -> Move | None:
    """What the rollout says of the box."""
    await session.flush()
    found: Move | None = await session.get(Move, (rollout.id, box.id))
    return found


async def verbs(session: AsyncSession, box: Box) -> list[str]:
    """The verbs of the box's jobs, in order."""
    return list(await session.scalars(select(Job.verb).where(Job.box_id == box.id).order_by(Job.rev)))


async def finished(session: AsyncSession, rollout: Rollout, *fleet: Box, steps: int = 20) -> Rollout:
    """The rollout once it is over or held, every box of the fleet being well after each step."""
    for _ in range(steps):
        for one in fleet:
            await settle(session, one)
        stepped = await rolling.step(session)
        await session.flush()
        if stepped is None or stepped.rollout.state in {"completed", "stopped", "aborted"}:
            return rollout
    raise AssertionError(f"still {rollout.state} at ring {rollout.ring}")


async def reports(session: AsyncSession, box: Box, release: str) -> None:
    """A gateway of the box reports ready."""
    await completion.report_ready(session, box.id, profile=1, gateway="x", release=release)
    await session.flush()


async def waiting(session: AsyncSession, box: Box) -> list[Job]:
    """The box's jobs that are not over."""
    return await jobs.open_of(session, box.id)


async def parked(session: AsyncSession, box: Box) -> None:
    """A job before the box's waiting one needs an approval."""
    (waiting,) = await jobs.open_of(session, box.id, JobState.QUEUED)
    box.rev, waiting.rev = box.rev + 1, waiting.rev + 1
    await session.flush()
    older = Job(box_id=box.id, verb="suspend", rev=waiting.rev - 1, fields={}, actor="stripe")
    session.add(older)
    await session.flush()
    jobs.park(older, ApprovalNeeded("cap_reached"))
    await session.flush()
