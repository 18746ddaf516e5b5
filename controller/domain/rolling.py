"""One step of the rollout under way: look how its boxes are, stop if too many failed, move the next, pass on.

A step is one transaction under the rollout's row lock and looks at nothing but rows, so it may run twice, be killed at
any point, and be taken by any process. It waits for no box: one that somebody else holds is taken by the next step.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from controller.core import clock
from controller.domain import jobs, lifecycle, releases, rollouts
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Why
from controller.domain.releases import Move, MoveState, Rollout, RolloutState
from controller.domain.rollouts import RingCount

UNDONE_A_STEP = 200
FALLS = 3
"""So often a healthy box may fall ill before it counts as failed: a crash loop is healthy between its crashes."""

SHOWN = 5


@dataclass(frozen=True)
class Stepped:
    """The rollout after a step: how many jobs wait for Git now, and whether its state or ring is another."""

    rollout: Rollout
    jobs: int
    moved_on: bool


@dataclass(frozen=True)
class Look:
    """A moved box now. ``parked``: an older job of its waits for an approval; ``busy``: a later one is open."""

    move: Move
    job: Job
    box: Box
    parked: bool
    busy: bool


async def step(session: AsyncSession) -> Stepped | None:
    """Take the rollout that is not over one step on; None if there is none. One that is held is only looked at."""
    rollout = await releases.unfinished(session, lock=True)
    if rollout is None:
        return None
    before = rollout.state, rollout.ring
    if rollout.state == RolloutState.ABORTING:
        made = await _undo(session, rollout)
    else:
        await _note_all(session, rollout)
        made = await _advance(session, rollout) if rollout.state == RolloutState.RUNNING else 0
    return Stepped(rollout, made, moved_on=before != (rollout.state, rollout.ring))


def judge(look: Look, rollout: Rollout) -> tuple[MoveState, str | None]:
    """How a moved box is, with the reason why it failed or is left alone. Pure."""
    move, job, box = look.move, look.job, look.box
    if box.state not in rollouts.MOVED:
        return MoveState.LEFT, f"it is {box.state}"
    if box.release != rollout.release:
        return MoveState.LEFT, f"it was put on {box.release}"
    if job.state in {JobState.FAILED, JobState.NEEDS_APPROVAL} or look.parked:
        return MoveState.FAILED, job.error or "an earlier job of the box waits for an approval"
    if move.falls >= FALLS:
        return MoveState.FAILED, f"it fell ill {move.falls} times after it was healthy"
    if _is_healthy(box, job):
        return MoveState.HEALTHY, None
    if job.committed_at is None:
        return MoveState.UNDER_WAY, None  # Git is away or slow, which says nothing of the release
    since = max(filter(None, [job.committed_at, rollout.resumed_at, box.ill_since if move.healthy_at else None]))
    if clock.now() - since <= rollout.patience:
        return MoveState.UNDER_WAY, None
    return MoveState.FAILED, f"not healthy within {rollout.patience}: {box.illness or _missing(box, job)}"


def _is_healthy(box: Box, job: Job) -> bool:
    reported = not box.runs() or box.ready_release == job.fields["release"]
    return box.synced_rev >= job.rev and box.ill_since is None and reported


def _missing(box: Box, job: Job) -> str:
    return "its gateway has not reported ready" if box.synced_rev >= job.rev else "the cluster has not applied it"


async def _advance(session: AsyncSession, rollout: Rollout) -> int:
    if rollout.ring is None:
        return await _pass_on(session, rollout)
    tally = await _tally(session, rollout)
    if _stopped(rollout, tally, await _first_failure(session, rollout)):
        return 0
    made = await _move(session, rollout, tally)
    if made or tally.under_way or tally.waiting:
        rollout.whole_since = None
        return made
    rollout.whole_since = rollout.whole_since or clock.now()
    if clock.now() - rollout.whole_since < rollout.soak:
        return 0
    return await _pass_on(session, rollout)


@dataclass(frozen=True)
class _Tally:
    """How many boxes of the ring are how far, and whether any box was healthy in the rollout yet."""

    waiting: int
    under_way: int
    healthy: int
    failed: int
    proven: bool

    @property
    def total(self) -> int:
        return self.waiting + self.under_way + self.healthy + self.failed


async def _tally(session: AsyncSession, rollout: Rollout) -> _Tally:
    rings = await rollouts.counts(session, rollout)
    here = next((one for one in rings if one.ring == rollout.ring), RingCount(rollout.ring or 0))
    return _Tally(
        # boxes that came into a ring that is passed are moved with the one that it is at
        waiting=sum(one.waiting for one in rings if one.ring <= here.ring),
        under_way=here.under_way,
        healthy=here.healthy,
        failed=here.failed,
        proven=any(one.healthy for one in rings),
    )


async def _looks(session: AsyncSession, rollout: Rollout) -> list[Look]:
    """The ring's boxes that may be other than noted: those not healthy, and those that were and are ill."""
    later = aliased(Job)
    busy = exists().where(later.box_id == Box.id, later.rev > Job.rev, later.state.in_(jobs.OPEN))
    fallen = and_(Move.state == MoveState.HEALTHY, Box.ill_since.is_not(None))
    query = (
        select(Move, Job, Box, _parked(), busy)
        .join(Job, Job.id == Move.job_id)
        .join(Box, Box.id == Move.box_id)
        .where(Move.rollout_id == rollout.id, Move.ring == rollout.ring)
        .where(or_(Move.state.in_([MoveState.UNDER_WAY, MoveState.FAILED]), fallen))
        .execution_options(populate_existing=True)
    )
    return [Look(*row) for row in await session.execute(query)]


async def _note_all(session: AsyncSession, rollout: Rollout) -> None:
    for look in await _looks(session, rollout):
        move = look.move
        if move.state == MoveState.HEALTHY and not look.busy:
            move.falls += 1
        state, move.error = judge(look, rollout)
        move.state = state.value
        if state == MoveState.HEALTHY:
            move.healthy_at = move.healthy_at or clock.now()
    await session.flush()


async def _first_failure(session: AsyncSession, rollout: Rollout) -> Move | None:
    query = select(Move).where(Move.rollout_id == rollout.id, Move.ring == rollout.ring)
    found: Move | None = await session.scalar(
        query.where(Move.state == MoveState.FAILED).order_by(Move.job_id).limit(1)
    )
    return found


def _stopped(rollout: Rollout, tally: _Tally, first: Move | None) -> bool:
    allowed = tally.total * rollout.failures_percent // 100
    if first is None or tally.failed <= allowed:
        return False
    told = f"ring {rollout.ring}: {tally.failed} of {tally.total} boxes failed and {allowed} may"
    rollouts.stop(rollout, f"{told}; box {first.box_id}: {first.error}")
    return True


async def _move(session: AsyncSession, rollout: Rollout, tally: _Tally) -> int:
    """Give the next boxes of the ring the release: the first of all by itself, then a batch at a time."""
    room = (rollout.batch if tally.proven else 1) - tally.under_way
    if room <= 0 or not tally.waiting:
        return 0
    query = (
        select(Box)
        .where(rollouts.eligible(rollout), Box.ring <= rollout.ring)
        .order_by(Box.ring, Box.id)
        .limit(room)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    made = 0
    for box in await session.scalars(query):
        previous = box.release
        job = await lifecycle.upgrade(session, box, rollout.release, _why(rollout))
        if job is not None:
            made += 1
            session.add(Move(rollout_id=rollout.id, box_id=box.id, ring=rollout.ring, previous=previous, job_id=job.id))
    return made


async def _pass_on(session: AsyncSession, rollout: Rollout) -> int:
    """Begin with the next ring that has something to move; without one the rollout is over and the fleet's."""
    rollout.whole_since = None
    ring = await session.scalar(select(func.min(Box.ring)).where(rollouts.eligible(rollout)))
    if ring is None:
        rollout.state, rollout.ended_at = RolloutState.COMPLETED.value, clock.now()
        return 0
    rollout.ring = ring
    await session.flush()
    return await _move(session, rollout, await _tally(session, rollout))


async def _undo(session: AsyncSession, rollout: Rollout) -> int:
    """Give boxes their former release back, the last moved first, without waiting for one another."""
    query = (
        select(Move, Box)
        .join(Box, Box.id == Move.box_id)
        .where(Move.rollout_id == rollout.id, Move.state.not_in([MoveState.LEFT, MoveState.UNDONE]))
        .order_by(Move.job_id.desc())
        .limit(UNDONE_A_STEP)
        .with_for_update(skip_locked=True, key_share=True, of=Box)
        .execution_options(populate_existing=True)
    )
    made = 0
    for move, box in (await session.execute(query)).all():
        if box.state not in rollouts.MOVED or box.release != rollout.release:
            move.state, move.error = MoveState.LEFT.value, f"it is {box.state} on {box.release}"
            continue
        job = await lifecycle.upgrade(session, box, move.previous, _why(rollout))
        move.state, move.undo_job_id = MoveState.UNDONE.value, job.id if job else None
        made += 1
    await session.flush()
    if not made:
        await _end_abort(session, rollout)
    return made


async def _end_abort(session: AsyncSession, rollout: Rollout) -> None:
    """Over, once every box has what it had or has had its time; those that are not well there are named."""
    left = select(Move.box_id).where(
        Move.rollout_id == rollout.id, Move.state.not_in([MoveState.LEFT, MoveState.UNDONE])
    )
    late = clock.now() - rollout.patience
    young = or_(Job.committed_at.is_(None), Job.committed_at > late)
    undone = select(Move.box_id).join(Job, Job.id == Move.undo_job_id).where(Move.rollout_id == rollout.id)
    moving = undone.where(Job.state.in_([JobState.QUEUED, JobState.COMMITTED, JobState.SYNCED]), young, ~_parked())
    if await session.scalar(left.limit(1)) or await session.scalar(moving.limit(1)):
        return
    ill = list(await session.scalars(undone.where(Job.state != JobState.DONE).order_by(Move.box_id)))
    rollout.state, rollout.ended_at = RolloutState.ABORTED.value, clock.now()
    if ill:
        rollout.reason = f"{len(ill)} boxes are not well on their former release: {' '.join(ill[:SHOWN])}"


def _parked() -> ColumnElement[bool]:
    """Whether a job waits behind one of its box that waits for an approval."""
    older = aliased(Job)
    parked = exists().where(older.box_id == Job.box_id, older.rev < Job.rev, older.state == JobState.NEEDS_APPROVAL)
    return and_(Job.state == JobState.QUEUED, parked)


def _why(rollout: Rollout) -> Why:
    return Why(f"rollout:{rollout.actor}", rollout.id)
