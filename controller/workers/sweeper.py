"""Whatever was left behind is sent again: a process of its own, because a lost message cannot ring for itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from pydantic import Field
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock, failpoints, metrics, stops
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError
from controller.core.queue import Doorbell
from controller.core.settings import Group
from controller.domain import (
    adoption,
    bells,
    catch_up,
    inbox,
    lifecycle,
    notices,
    retirements,
    standbys,
    strays,
    subscriptions,
)
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState, Verb
from controller.domain.lifecycle import LifecycleSettings, Mint
from controller.domain.plans import PlanName
from controller.domain.standbys import StandbySettings
from controller.workers import health

log = logs.get(__name__)

RUNG = metrics.counter("sweeper_rings", "What was left behind and rung for again", "kind")
FAILURES = metrics.counter("sweeper_failures", "Sweeps that failed, by our error code", "error")
LAGGING = timedelta(seconds=30)
MOST_LAGGING = 200
"""So many boxes of a cell are asked for again in one sweep."""


class SweeperSettings(Group):
    """How often to look."""

    sweep_interval: timedelta = Field(default=timedelta(seconds=15), gt=timedelta(0))
    """15 s: a quarter of the minute within which a lost message may be noticed (invariant I2)."""

    catch_up_interval: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0))
    """How often Stripe's own list is read for events that never came. 5 min: one request each time."""

    sweep_lagging: timedelta = Field(default=LAGGING, gt=timedelta(0))
    """A committed job older than this asks Argo CD to look again. 30 s: an ordinary sync takes a few seconds."""


@dataclass(frozen=True)
class Pool:
    """What keeping the standby boxes takes."""

    mint: Mint
    settings: StandbySettings


async def run(
    database: Database,
    bell: Doorbell,
    settings: SweeperSettings,
    keep: LifecycleSettings,
    stop: asyncio.Event,
    pool: Pool | None = None,
) -> None:
    """Sweep until ``stop`` is set; a failed sweep is logged and the next one tries again."""
    while not stop.is_set():
        try:
            await sweep(database, bell, keep, settings)
            if pool is not None:
                await keep_standbys(database, bell, pool)
        except CloudError as error:
            health.blind()
            FAILURES.labels(error.code).inc()
            log.warning("sweeper.failed", error=str(error))
        await stops.pause(stop, settings.sweep_interval)


async def sweep(
    database: Database, bell: Doorbell, keep: LifecycleSettings, settings: SweeperSettings | None = None
) -> None:
    """Ring for whatever waits and for boxes that lag; end retentions, retire the destroyed, renew the free.

    The rings come first: a box that cannot be ended must not keep everybody else's events from being handled.
    """
    await _ring(database, bell, settings or SweeperSettings())
    async with database.transaction() as session:
        ended = await lifecycle.end_retention(session, keep)
        ended += await retirements.raise_due(session, keep.retire_after)
        await subscriptions.renew_complimentary(session)
    failpoints.hit("sweeper.retention_ended")
    if ended:
        await bell.ring(bells.COMMITS)
    async with database.transaction() as session:
        await health.observe(session)


async def keep_standbys(database: Database, bell: Doorbell, pool: Pool) -> None:
    """The pool of standby boxes is on its way to what is wanted and shown; the writer is rung for if that took jobs."""
    async with database.transaction() as session:
        kept = await standbys.keep(session, pool.mint, pool.settings)
        found = health.Standbys(
            wanted={plan: pool.settings.wanted(plan) for plan in PlanName},
            ready=kept.ready,
            too_slow=await standbys.too_slow(session, pool.settings, kept.jobs),
        )
    health.show_standbys(found)
    failpoints.hit("sweeper.standbys_kept")
    for job in kept.jobs:
        log.info("standbys.kept", box_id=job.box_id, job_id=job.id, verb=job.verb)
    if kept.jobs:
        await bell.ring(bells.COMMITS)


async def _ring(database: Database, bell: Doorbell, settings: SweeperSettings) -> None:
    async with database.transaction() as session:
        events = await inbox.due(session, inbox.STRIPE)
        unread = await catch_up.is_due(session, inbox.STRIPE, settings.catch_up_interval)
        queued = await session.scalar(select(_queued().exists()))
        lagging = await _lagging(session, settings.sweep_lagging)
        await notices.recover(session)
        untold = await notices.due(session)
        reports = len(await adoption.untold(session))
        retiring = len(await retirements.unfinished(session)) + await strays.count(session)
    for event_id in events:
        await bell.ring(bells.EVENT, event_id)
    if unread:
        await bell.ring(bells.CATCH_UP)
    if queued:
        await bell.ring(bells.COMMITS)
    for box_ids in lagging:
        await bell.ring(bells.REFRESH, *box_ids)
    for notice_id in untold:
        await bell.ring(bells.NOTICE, notice_id)
    if reports:
        await bell.ring(bells.TELL_FORGE)
    if retiring:
        await bell.ring(bells.RETIRE)
    _count(
        report=reports,
        retire=retiring,
        event=len(events),
        commits=int(bool(queued)),
        refresh=sum(map(len, lagging)),
        notice=len(untold),
    )
    failpoints.hit("sweeper.rung")


def _count(**rung: int) -> None:
    for kind, count in rung.items():
        RUNG.labels(kind).inc(count)


def _queued() -> Select[str]:
    return select(Job.id).where(Job.state == JobState.QUEUED, Job.next_attempt_at <= clock.now())


async def _lagging(session: AsyncSession, late: timedelta) -> list[list[str]]:
    """Boxes that lag behind Git, of each cell apart: one that is away keeps no other's from being asked again."""
    query = select(Box.cell, Box.id).join(Job, Job.box_id == Box.id)
    query = query.where(Job.state == JobState.COMMITTED, Job.committed_at <= clock.now() - late)
    late_ones = (
        query.where(Job.verb != Verb.RETIRE).distinct().subquery()
    )  # that asks by itself, and looks if it was heard
    # in no order: what never catches up must not keep the rest from their turn
    turn = func.row_number().over(partition_by=late_ones.c.cell, order_by=func.random())
    turns = select(late_ones.c.cell, late_ones.c.id, turn.label("turn")).subquery()
    found: dict[str, list[str]] = {}
    for cell, box_id in await session.execute(select(turns.c.cell, turns.c.id).where(turns.c.turn <= MOST_LAGGING)):
        found.setdefault(cell, []).append(box_id)
    return list(found.values())
