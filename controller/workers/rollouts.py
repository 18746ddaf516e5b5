"""The rollout under way goes on by a step every few seconds, and ops see where it is."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import failpoints, metrics, stops
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError
from controller.core.queue import Doorbell
from controller.core.settings import Group
from controller.domain import bells, rolling, rollouts
from controller.domain.releases import Rollout, RolloutState

log = logs.get(__name__)

STATE = metrics.gauge(
    "rollout_state", "1 for the state that the newest rollout is in; stopped: ops have to look", "state"
)
RING = metrics.gauge("rollout_ring", "The ring that the newest rollout is at")
BOXES = metrics.gauge("rollout_boxes", "Boxes of the newest rollout by how far they are", "state")
FAILURES = metrics.counter("rollout_failures", "Steps of rollouts that failed, by our error code", "error")
COUNTED = ("waiting", "under_way", "healthy", "failed", "left", "undone")


class RolloutSettings(Group):
    """How often the rollout under way is looked at."""

    rollout_interval: timedelta = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """5 s: a batch takes longer than that, and a look is a few indexed reads."""


async def run(database: Database, bell: Doorbell, settings: RolloutSettings, stop: asyncio.Event) -> None:
    """Take steps until ``stop`` is set; one that failed is logged and taken again."""
    while not stop.is_set():
        try:
            await step(database, bell)
        except CloudError as error:
            blind()
            FAILURES.labels(error.code).inc()
            log.warning("rollout.step_failed", error=str(error))
        await stops.pause(stop, settings.rollout_interval)


async def step(database: Database, bell: Doorbell) -> None:
    """Take the rollout under way one step on, tell ops what changed, and have its jobs written."""
    async with database.transaction() as session:
        stepped = await rolling.step(session)
    failpoints.hit("rollout.stepped")
    if stepped is not None and stepped.moved_on:
        _tell(stepped.rollout)
    if stepped is not None and stepped.jobs:
        await bell.ring(bells.COMMITS)
    async with database.transaction() as session:
        await show(session)


async def show(session: AsyncSession) -> None:
    """Show the newest rollout; nothing while there never was one."""
    found = await rollouts.newest(session)
    counts = await rollouts.counts(session, found[0]) if found else []
    blind()
    for rollout in found:
        for state in RolloutState:
            STATE.labels(state).set(rollout.state == state)
        if rollout.ring is not None:
            RING.set(rollout.ring)
        for name in COUNTED:
            BOXES.labels(name).set(sum(getattr(ring, name) for ring in counts))


def blind() -> None:
    """Show nothing rather than what was."""
    STATE.clear()
    BOXES.clear()
    RING.set(math.nan)


def _tell(rollout: Rollout) -> None:
    stopped = rollout.state == RolloutState.STOPPED or rollout.reason is not None
    tell = log.error if stopped else log.info
    facts = {"release": rollout.release, "ring": rollout.ring, "reason": rollout.reason}
    tell(f"rollout.{rollout.state}", rollout_id=rollout.id, **facts)
