"""Applications that are no box's are taken away once their file is out of Git, where nothing ever lived.

The order is a retirement's. Nothing of a stray is deleted but its Application, which takes nothing along: a cell gives
no box of another its secret, so Argo CD makes a namespace for one and never comes to the volume and the pod.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from controller.clients import argocd, kubernetes
from controller.clients.cells import Cells
from controller.clients.kubernetes import Cluster
from controller.core import log as logs
from controller.core import metrics
from controller.core.db import Database
from controller.core.errors import CloudError, Temporary
from controller.domain import caps, git_remote, strays
from controller.domain.caps import CapSettings
from controller.domain.states import State
from controller.domain.strays import Stray
from controller.gitops import children, manifests
from controller.gitops.repository import Repository
from controller.workers import retiring
from controller.workers.provisioning import WRITER_LOCK
from controller.workers.retiring import Step, StillThere

log = logs.get(__name__)

REMOVED = metrics.counter("strays_removed", "Applications of no box that were taken away")


async def finish(
    database: Database, repository: Repository, cells: Cells, allowed: CapSettings = caps.DEFAULTS
) -> None:
    """Every stray that may go is one step further; what holds one up is on its row and holds up no other.

    Nothing is done with one whose file is in Git, or while another writer is at it. A cell whose cluster is away is
    asked once. Raises RemoteAway.
    """
    async with database.transaction() as session:
        if (await git_remote.get(session)).resting():
            return
        due = await strays.due(session)
    gone = await _without_file(database, repository, due) if due else []
    async with database.transaction() as session:
        going = await strays.admit(session, gone, allowed)
    away: dict[str, CloudError] = {}
    for stray in going:
        failure = away.get(stray.cell)
        try:
            if failure is None:
                await _step(database, cells.of(stray.cell), stray)
        except CloudError as error:
            failure = error
            away |= {stray.cell: error} if isinstance(error, Temporary) else {}
            log.warning("strays.step_failed", box_id=stray.box_id, cell=stray.cell, error=str(error))
        if failure is not None or stray.error is not None:
            async with database.transaction() as session:
                await strays.hold_up(session, stray, failure)


async def _without_file(database: Database, repository: Repository, due: Sequence[Stray]) -> list[Stray]:
    async with database.exclusive(WRITER_LOCK) as held:
        if not held:
            return []
        with children.within(children.LIMIT):
            there = await asyncio.to_thread(_there, repository, {_path(stray) for stray in due})
    return [stray for stray in due if _path(stray) not in there]


def _there(repository: Repository, paths: Collection[str]) -> set[str]:
    tip = repository.fetch()
    return set(repository.ask("ls-tree", "-r", "--name-only", "-z", tip, "--", *sorted(paths)).decode().split("\0"))


def _path(stray: Stray) -> str:
    return manifests.path(stray.cell, stray.box_id)


async def _step(database: Database, cluster: Cluster, stray: Stray) -> None:
    step = await asyncio.to_thread(retiring.take_away, cluster, stray.box_id, stray, _check)
    if step == Step.NONE:
        return
    if step == Step.OVER and await asyncio.to_thread(cluster.has_namespace, kubernetes.namespace(stray.box_id)):
        raise StillThere("stray_namespace_there", box=stray.box_id, cell=stray.cell)
    async with database.transaction() as session:
        if step == Step.OVER:
            await strays.over(session, stray)
        else:
            await strays.asked(session, stray, deleted=step == Step.DELETED)
    if step == Step.OVER:
        REMOVED.inc()
        log.info("strays.removed", box_id=stray.box_id, cell=stray.cell)


def _check(cluster: Cluster, box_id: str) -> dict[str, Any] | None:
    """The stray Application, if there is one and nothing of it ever lived or all of it is gone.

    Raises StillThere if anything did, or if the Application's deletion would take something along.
    """
    application = cluster.application(box_id)
    if application is None:
        return None
    seen = argocd.read(application)
    if seen.asked_state == State.DESTROYED:
        return retiring.emptied(cluster, box_id)
    if seen.synced_once or seen.operating or cluster.pods(kubernetes.namespace(box_id)):
        raise StillThere("stray_lives", box=box_id, rev=seen.rev, sync=seen.sync, health=seen.health)
    return retiring.uncascading(application)
