"""What ops do with a rollout, what a commit of theirs does to it, and how far it is. It goes on by ``rolling``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Select, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock, db
from controller.core.errors import Conflict, NotFound
from controller.domain import release_format, releases
from controller.domain.boxes import Box
from controller.domain.releases import GOING_ON, Move, MoveState, Rollout, RolloutState
from controller.domain.states import State

LOCK = "rollouts"
MOVED = (State.STANDBY.value, State.ACTIVE.value, State.SUSPENDED.value)
"""States of boxes that a rollout moves. A condemned one gets the release in force when it is brought back."""

_FROM = {
    RolloutState.PAUSED: {RolloutState.RUNNING},
    RolloutState.RUNNING: {RolloutState.PAUSED, RolloutState.STOPPED},
    RolloutState.ABORTING: {RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.STOPPED},
}


class Pace(BaseModel):
    """How careful a rollout is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: Annotated[int, Field(ge=1, le=500)] = 20
    """20: a cell syncs 13 to 38 boxes a second at best, and customers' own changes go through the same door."""

    soak: Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=14))] = timedelta(minutes=10)
    """10 minutes: what dies of its first hours' work shows by then; rings of customers deserve longer."""

    patience: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=1))] = timedelta(minutes=15)
    """15 minutes: longer than a boot on a busy node with an image to pull, and no longer than invariant I12 allows."""

    failures_percent: Annotated[int, Field(ge=0, le=100)] = 0


@dataclass(frozen=True)
class RingCount:
    """How many of the boxes of one ring are how far."""

    ring: int
    waiting: int = 0
    under_way: int = 0
    healthy: int = 0
    failed: int = 0
    left: int = 0
    undone: int = 0


async def start(session: AsyncSession, release: str, pace: Pace, actor: str) -> Rollout:
    """A rollout of ``release`` waits for its first step. Whoever calls knows that there is such a chart.

    Raises Invalid for what is no release's name, Conflict while another rollout is not over.
    """
    release_format.checked(release)
    await db.lock(session, LOCK)
    if (other := await releases.unfinished(session)) is not None:
        raise Conflict("rollout_unfinished", rollout=other.id, release=other.release, state=other.state)
    made = Rollout(release=release, actor=actor, **pace.model_dump())
    session.add(made)
    await session.flush()
    return made


async def get(session: AsyncSession, rollout_id: str, *, lock: bool = False) -> Rollout:
    """The rollout; raises NotFound if there is none."""
    found = await session.get(Rollout, rollout_id, with_for_update=lock or None, populate_existing=lock)
    if found is None:
        raise NotFound("rollout_unknown", rollout=rollout_id[:26])
    return found


async def newest(session: AsyncSession, limit: int = 1) -> list[Rollout]:
    """The newest rollouts, the newest first."""
    return list(await session.scalars(select(Rollout).order_by(Rollout.id.desc()).limit(limit)))


async def pause(session: AsyncSession, rollout_id: str) -> Rollout:
    """No box is moved any more until it is resumed; those under way go on. Raises NotFound, Conflict."""
    return await _enter(session, rollout_id, RolloutState.PAUSED)


async def resume(session: AsyncSession, rollout_id: str) -> Rollout:
    """A paused or stopped rollout goes on; boxes that were given up have their time again. Raises as ``pause``."""
    rollout = await _enter(session, rollout_id, RolloutState.RUNNING)
    rollout.resumed_at = clock.now()
    for move in await session.scalars(_moves(rollout, MoveState.FAILED)):
        move.state, move.error, move.falls = MoveState.UNDER_WAY.value, None, 0
    return rollout


async def abort(session: AsyncSession, rollout_id: str) -> Rollout:
    """Every box that it moved gets its former release back, unless ops chose another since. Raises as ``pause``."""
    return await _enter(session, rollout_id, RolloutState.ABORTING)


def stop(rollout: Rollout, reason: str) -> None:
    """It moves no more boxes until ops have looked at ``reason``."""
    rollout.state, rollout.reason, rollout.whole_since = RolloutState.STOPPED.value, reason, None


async def overruled(session: AsyncSession, box: Box, release: str, actor: str) -> None:
    """Ops put the box, which is not there yet, on ``release`` themselves: the rollout under way leaves it there.

    If that takes back what the rollout did, it stops. The caller holds the box's row lock.
    """
    rollout = await releases.unfinished(session, lock=True)
    if rollout is None:
        return
    move = await session.get(Move, (rollout.id, box.id), populate_existing=True)
    undone = move is not None and move.state != MoveState.LEFT and release == move.previous
    if move is None:
        move = Move(rollout_id=rollout.id, box_id=box.id, ring=box.ring, previous=box.release)
        session.add(move)
    move.state, move.error = MoveState.LEFT.value, f"{actor} put it on {release}"
    if undone and rollout.state in GOING_ON:
        stop(rollout, f"{actor} took box {box.id} back to {release}")


def eligible(rollout: Rollout) -> ColumnElement[bool]:
    """Which boxes the rollout still has to move, in all rings."""
    known = exists().where(Move.rollout_id == rollout.id, Move.box_id == Box.id)
    return and_(Box.state.in_(MOVED), Box.release != rollout.release, ~known)


async def counts(session: AsyncSession, rollout: Rollout) -> list[RingCount]:
    """How far the boxes are, by ring, the first ring first; one that is over has nothing waiting."""
    found: dict[int, dict[str, int]] = {}
    moved = select(Move.ring, Move.state, func.count()).where(Move.rollout_id == rollout.id)
    for ring, state, number in await session.execute(moved.group_by(Move.ring, Move.state)):
        found.setdefault(ring, {})[state] = number
    if rollout.ended_at is None and rollout.state != RolloutState.ABORTING:
        waiting = select(Box.ring, func.count()).where(eligible(rollout)).group_by(Box.ring)
        for ring, number in await session.execute(waiting):
            found.setdefault(ring, {})["waiting"] = number
    return [RingCount(ring, **numbers) for ring, numbers in sorted(found.items())]


async def troubles(session: AsyncSession, rollout: Rollout, limit: int = 20) -> list[tuple[str, str]]:
    """Boxes that failed or were left, at most ``limit``, each with the reason."""
    query = _moves(rollout, MoveState.FAILED, MoveState.LEFT).order_by(Move.state, Move.box_id).limit(limit)
    return [(move.box_id, move.error or "") for move in await session.scalars(query)]


async def _enter(session: AsyncSession, rollout_id: str, state: RolloutState) -> Rollout:
    rollout = await get(session, rollout_id, lock=True)
    if rollout.state not in _FROM[state]:
        raise Conflict("rollout_in_another_state", rollout=rollout.id, state=rollout.state)
    rollout.state, rollout.reason, rollout.whole_since = state.value, None, None
    return rollout


def _moves(rollout: Rollout, *states: MoveState) -> Select[Move]:
    return select(Move).where(Move.rollout_id == rollout.id, Move.state.in_(states))
