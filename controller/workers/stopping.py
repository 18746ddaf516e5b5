"""What an admin stopped at once: Argo CD held off, the box scaled to zero, and Argo CD let go once Git says the same.

Nothing here needs Git. Every step may run twice, and the next look goes on wherever the last one ended.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from pydantic import Field

from controller.clients import argocd, kubernetes
from controller.clients.kubernetes import Cluster
from controller.core import failpoints, metrics, stops
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError
from controller.core.settings import Group
from controller.domain import boxes, progress, stoppages
from controller.domain.jobs import Job
from controller.domain.states import State
from controller.domain.stoppages import Stoppage

log = logs.get(__name__)

OPEN = metrics.gauge("stoppages_open", "Boxes that an admin stopped and that Argo CD does not follow Git for yet")
FAILURES = metrics.counter("stoppage_failures", "Steps of a stoppage that failed, by our error code", "error")
LOCK = "stoppages"
CELL = "local"
STRAYS_SECONDS = 60.0
"""How often Applications are looked for that are held for a stoppage which is over."""


class StoppageSettings(Group):
    """How soon a box is stopped."""

    stop_interval: timedelta = Field(default=timedelta(seconds=1), gt=timedelta(0))
    """1 s between looks for boxes to stop: one small query each, and nobody waits longer for the first step."""

    cell: str = CELL
    """The cell whose cluster this is: boxes of another are stopped by the watcher there."""


async def run(database: Database, cluster: Cluster, settings: StoppageSettings, stop: asyncio.Event) -> None:
    """Take every stoppage further until ``stop`` is set; a look that fails is logged and the next one tries again."""
    strays_at = time.monotonic()
    while not stop.is_set():
        try:
            await look(database, cluster, settings.cell)
            if time.monotonic() >= strays_at:
                await release_strays(database, cluster, settings.cell)
                strays_at = time.monotonic() + STRAYS_SECONDS
        except CloudError as error:
            FAILURES.labels(error.code).inc()
            log.warning("stopping.look_failed", error=str(error))
        await stops.pause(stop, settings.stop_interval)


async def look(database: Database, cluster: Cluster, cell: str = CELL) -> None:
    """Every open stoppage of the cell is one step further; what holds one up is on its row and holds up no other."""
    due = await _unfinished(database, cell)
    OPEN.set(len(due))
    if not due:
        return
    async with database.exclusive(LOCK) as held:
        # read again: whoever had the lock before has moved them on
        for stoppage, job in await _unfinished(database, cell) if held else ():
            await _step(database, cluster, stoppage, job)


async def release_strays(database: Database, cluster: Cluster, cell: str = CELL) -> None:
    """Argo CD follows Git for every box without an open stoppage: one that was frozen in a step may have held it late.

    Only what carries our own label is let go; what ops hold by hand stays held.
    """
    async with database.exclusive(LOCK) as held:
        found = await asyncio.to_thread(cluster.held) if held else {}
        async with database.transaction() as session:
            standing = {stoppage.id for stoppage, _ in await stoppages.unfinished(session, cell)}
        for box_id, stoppage_id in found.items():
            if stoppage_id not in standing:
                await asyncio.to_thread(cluster.let_go, box_id)
                log.warning("stopping.stray_released", box_id=box_id, stoppage_id=stoppage_id)


async def _unfinished(database: Database, cell: str) -> list[tuple[Stoppage, Job]]:
    async with database.transaction() as session:
        return await stoppages.unfinished(session, cell)


async def _step(database: Database, cluster: Cluster, stoppage: Stoppage, job: Job) -> None:
    failure = None
    try:
        await _advance(database, cluster, stoppage, job)
    except CloudError as error:
        failure = error
        FAILURES.labels(error.code).inc()
        log.warning("stopping.step_failed", box_id=stoppage.box_id, error=str(error))
    if failure is not None or stoppage.error is not None:
        async with database.transaction() as session:
            await stoppages.failed(session, stoppage.id, failure)


async def _advance(database: Database, cluster: Cluster, stoppage: Stoppage, job: Job) -> None:
    application = await asyncio.to_thread(cluster.application, stoppage.box_id)
    if application is None:
        # a destroyed box whose Application is gone has nothing that could be let go
        await _release(database, stoppage, only_destroyed=True)
    else:
        seen = argocd.read(application)
        if stoppages.agreed(stoppage, job, seen.asked_rev, seen.asked_state):
            await asyncio.to_thread(cluster.let_go, stoppage.box_id)
            failpoints.hit("stopping.let_go")
            await _release(database, stoppage)
            return
        await asyncio.to_thread(cluster.hold, stoppage.box_id, stoppage.id)
    failpoints.hit("stopping.held")
    if stoppage.lifted_at is None:
        await _halt(database, cluster, stoppage)


async def _halt(database: Database, cluster: Cluster, stoppage: Stoppage) -> None:
    """Again at every look: a sync that was under way when Argo CD was held off may still apply what it had read."""
    space = kubernetes.namespace(stoppage.box_id)
    await asyncio.to_thread(cluster.scale_to_zero, space)
    failpoints.hit("stopping.scaled")
    left = await asyncio.to_thread(cluster.pods, space)
    if left or stoppage.halted_at is not None:
        return
    async with database.transaction() as session:
        box = await boxes.get(session, stoppage.box_id, lock=True)
        if await stoppages.halted(session, stoppage.id):
            box.ready_at = None
            await progress.add(session, box.id, "stopped", stoppage=stoppage.id)
            log.warning("stopping.halted", box_id=box.id, stoppage_id=stoppage.id, actor=stoppage.actor)


async def _release(database: Database, stoppage: Stoppage, *, only_destroyed: bool = False) -> None:
    async with database.transaction() as session:
        box = await boxes.get(session, stoppage.box_id, lock=True)
        if (not only_destroyed or box.state == State.DESTROYED) and await stoppages.released(session, stoppage.id):
            log.info("stopping.released", box_id=box.id, stoppage_id=stoppage.id)
