"""An admin stops one box at once, also while Git is away, and lets it run again."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.errors import Conflict
from controller.domain import lifecycle, progress, stoppages, tokens
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.lifecycle import Mint, Why
from controller.domain.states import State
from controller.domain.stoppages import STOPPED, Stoppage

_ENDED = frozenset({State.CONDEMNED.value, State.DESTROYED.value})


async def stop(session: AsyncSession, box: Box, why: Why, reason: str) -> Stoppage:
    """From the commit on no token of the box opens anything, and the cluster is told to end its pods.

    The box is suspended with a job for Git, unless Git is to stop it already. A box that is stopped and not lifted
    stays as it is. The caller holds the box's lock. Raises Conflict for a destroyed or a standby box, Invalid for a
    reason that cannot be kept.
    """
    told = stoppages.checked_reason(reason)
    if box.state == State.DESTROYED:
        raise Conflict("box_ended", box=box.id, state=box.state)
    standing = await stoppages.open_of(session, box.id, lock=True)
    if standing is not None and standing.lifted_at is None:
        return standing
    if box.state != State.CONDEMNED:
        await lifecycle.suspend(session, box, why, STOPPED)
    await tokens.revoke_all(session, box.id)
    newest = await _newest_job(session, box.id)
    if standing is not None:  # it was lifted, and Argo CD is still held off
        standing.lifted_at = standing.lifted_by = standing.halted_at = None
        standing.job_id, standing.actor, standing.reason = newest.id, why.actor, told
    else:
        standing = Stoppage(box_id=box.id, actor=why.actor, reason=told, job_id=newest.id)
        session.add(standing)
    await session.flush()
    await progress.add(session, box.id, "stop_asked", stoppage=standing.id)
    return standing


async def start(session: AsyncSession, mint: Mint, box: Box, why: Why) -> Job | None:
    """The box runs again, with new tokens, unless something else suspends it; None for one that was not stopped.

    The caller holds the box's lock. Raises Conflict for a box that has ended.
    """
    if box.state in _ENDED:
        raise Conflict("box_ended", box=box.id, state=box.state)
    if STOPPED not in box.suspended_for:
        return None
    box.secret_versions = {**box.secret_versions, **await lifecycle.issue_tokens(session, mint, box.id)}
    await stoppages.lift(session, box.id, why.actor)
    return await lifecycle.reactivate(session, mint, box, why, STOPPED)


async def _newest_job(session: AsyncSession, box_id: str) -> Job:
    newest = select(func.max(Job.rev)).where(Job.box_id == box_id).scalar_subquery()
    return (await session.scalars(select(Job).where(Job.box_id == box_id, Job.rev == newest))).one()
