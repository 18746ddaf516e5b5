"""Whatever was left behind is sent again: a process of its own, because a lost message cannot ring for itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import Field
from sqlalchemy import Select, select

from controller.core import clock, failpoints
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError
from controller.core.queue import Doorbell
from controller.core.settings import Group
from controller.domain import bells, inbox, lifecycle, subscriptions
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import LifecycleSettings

log = logs.get(__name__)

LAGGING = timedelta(seconds=30)
"""A committed job older than this asks Argo CD to look again; an ordinary sync takes a few seconds."""


class SweeperSettings(Group):
    """How often to look."""

    sweep_interval: timedelta = Field(default=timedelta(seconds=15), gt=timedelta(0))
    """15 s: a quarter of the minute within which a lost message may be noticed (invariant I2)."""


async def run(
    database: Database, bell: Doorbell, settings: SweeperSettings, keep: LifecycleSettings, stop: asyncio.Event
) -> None:
    """Sweep until ``stop`` is set; a failed sweep is logged and the next one tries again."""
    while not stop.is_set():
        try:
            await sweep(database, bell, keep)
        except CloudError as error:
            log.warning("sweeper.failed", error=str(error))
        try:
            async with asyncio.timeout(settings.sweep_interval.total_seconds()):
                await stop.wait()
        except TimeoutError:
            continue


async def sweep(database: Database, bell: Doorbell, keep: LifecycleSettings) -> None:
    """Ring for every waiting event, queued job and lagging box; end retentions and renew what nobody pays."""
    async with database.transaction() as session:
        await lifecycle.end_retention(session, keep)
        await subscriptions.renew_complimentary(session)
    failpoints.hit("sweeper.retention_ended")
    async with database.transaction() as session:
        events = await inbox.due(session, "stripe")
        queued = await session.scalar(select(_queued().exists()))
        lagging = list(await session.scalars(_lagging()))
    for event_id in events:
        await bell.ring(bells.EVENT, event_id)
    if queued:
        await bell.ring(bells.COMMITS)
    if lagging:
        await bell.ring(bells.REFRESH, *lagging)
    failpoints.hit("sweeper.rung")


def _queued() -> Select[str]:
    return select(Job.id).where(Job.state == JobState.QUEUED, Job.next_attempt_at <= clock.now())


def _lagging() -> Select[str]:
    before = clock.now() - LAGGING
    query = select(Job.box_id).where(Job.state == JobState.COMMITTED, Job.committed_at <= before)
    return query.distinct().limit(200)
