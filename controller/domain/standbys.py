"""The pool of standby boxes: booted, ready, and owned by nobody until a purchase claims one (``claims``).

``keep`` compares what there is with what is wanted and makes the difference up with jobs; it may run at any time, in
any number of processes, and be killed anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock, db
from controller.core.settings import Group
from controller.domain import lifecycle, plans, releases
from controller.domain.boxes import Box, BoxSettings
from controller.domain.jobs import Job, JobState, Verb
from controller.domain.lifecycle import Mint, Why
from controller.domain.plans import PlanName
from controller.domain.states import State

LOCK = "standbys"
WHY = Why("system:standby")
MOST_AT_ONCE = 10
"""Boxes of a plan that one look makes or ends: a pool that was just switched on fills over some looks."""


class StandbySettings(Group):
    """How many standby boxes a cell keeps of each plan. 0, the default, is off and ends those that there are."""

    standby_starter: int = Field(default=0, ge=0, le=500)
    """Boxes. Each costs what its plan requests; the pool serves that many purchases within a boot and a half."""

    standby_pro: int = Field(default=0, ge=0, le=500)
    """Boxes, as above."""

    standby_team: int = Field(default=0, ge=0, le=500)
    """Boxes, as above."""

    standby_ready_within: timedelta = Field(default=timedelta(minutes=15), gt=timedelta(0))
    """A standby that is not ready so long after its commit is replaced. 15 min: then a job counts as stuck, too."""

    def wanted(self, plan: PlanName) -> int:
        """How many boxes of the plan are to stand by."""
        counts = {
            PlanName.STARTER: self.standby_starter,
            PlanName.PRO: self.standby_pro,
            PlanName.TEAM: self.standby_team,
        }
        return counts[plan]


@dataclass(frozen=True)
class _Measure:
    """What a standby has to be. ``rolling``: a rollout is not over, which moves standbys as it moves other boxes."""

    release: str
    rolling: bool
    ready_within: timedelta


@dataclass(frozen=True)
class Kept:
    """The ``jobs`` that one look took, and how many standbys of each plan a purchase could claim after it."""

    jobs: list[Job]
    ready: dict[PlanName, int]


async def keep(session: AsyncSession, mint: Mint, settings: StandbySettings) -> Kept:
    """The cell is on its way to as many standbys of each plan as are wanted, all of them fit.

    Held by one process at a time. A standby that a purchase is claiming just now is still counted: the next look
    makes its successor.
    """
    await db.lock(session, LOCK)
    measure = await _measure(session, mint.settings, settings)
    made: list[Job] = []
    ready: dict[PlanName, int] = {}
    for plan in PlanName:
        pool = await _pool(session, mint.settings, plan)
        unfit = [box for box in pool if not await _fits(session, measure, box)]
        # those that serve first, the longest-standing before others: claims take them in that order, too
        fit = sorted((box for box in pool if box not in unfit), key=lambda box: (not _serves(box), box.created_at))
        made += await _end(session, [*unfit, *fit[settings.wanted(plan) :]])
        standing = [box for box in pool if box.state == State.STANDBY]
        ready[plan] = sum(_serves(box) and box.release == measure.release for box in standing)
        missing = max(settings.wanted(plan) - len(fit), 0)
        for _ in range(min(missing, MOST_AT_ONCE)):
            made.append(await lifecycle.prepare(session, mint, plan.value, WHY))
    return Kept(made, ready)


async def too_slow(session: AsyncSession, settings: StandbySettings, made: Sequence[Job]) -> dict[PlanName, int]:
    """Of the boxes that the jobs ``made`` end, by plan: those that were not ready once, though they had the time."""
    ended = [job.box_id for job in made if job.verb == Verb.DESTROY]
    old = Box.created_at <= clock.now() - settings.standby_ready_within
    query = select(Box.plan, func.count()).where(Box.id.in_(ended), Box.ready_at.is_(None), old).group_by(Box.plan)
    found = {row[0]: row[1] for row in await session.execute(query)}
    return {plan: found.get(plan.value, 0) for plan in PlanName}


async def _measure(session: AsyncSession, settings: BoxSettings, keep: StandbySettings) -> _Measure:
    release = await releases.in_force(session, settings.box_ring, settings.box_release)
    rolling = await releases.unfinished(session) is not None
    return _Measure(release, rolling, keep.standby_ready_within)


async def _pool(session: AsyncSession, settings: BoxSettings, plan: PlanName) -> Sequence[Box]:
    standing = (Box.state == State.STANDBY) & (Box.cell == settings.cell) & (Box.plan == plan.value)
    return (await session.scalars(select(Box).where(standing).order_by(Box.created_at))).all()


async def _end(session: AsyncSession, surplus: Sequence[Box]) -> list[Job]:
    """Condemn those of the boxes that nobody is claiming at this moment."""
    chosen = [box.id for box in surplus[:MOST_AT_ONCE]]
    query = (
        select(Box)
        .where(Box.id.in_(chosen), Box.state == State.STANDBY)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    ended = [await lifecycle.condemn(session, box, WHY) for box in await session.scalars(query)]
    return [job for job in ended if job is not None]


async def _fits(session: AsyncSession, measure: _Measure, box: Box) -> bool:
    """Whether a purchase can claim it, now or once it is ready; one that ops changed beyond its plan cannot.

    One of another release fits while a rollout is not over: that moves it, forth or back, and has to see what comes
    of it. Ended here, a box that the release has broken would be missing from the failures by which it stops.
    """
    if box.overrides or box.volume_gib != plans.get(box.plan).resources.volume_gib:
        return False
    if box.release != measure.release:
        return measure.rolling
    if _serves(box):
        return True
    newest = await session.scalar(select(Job).where(Job.box_id == box.id).order_by(Job.rev.desc()).limit(1))
    # One that waits for Git or failed there is not the box's fault: another would fare no better.
    if newest is None or newest.committed_at is None or newest.state == JobState.FAILED:
        return True
    if measure.rolling and newest.verb == Verb.UPGRADE:
        return True
    since = max(filter(None, [newest.committed_at, box.ill_since]))
    return clock.now() - since <= measure.ready_within


def _serves(box: Box) -> bool:
    reported = box.ready_at is not None and box.ready_profile == box.profile
    return reported and box.synced_rev == box.rev and box.ill_since is None
