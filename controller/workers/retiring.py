"""The retirement janitor's cluster side: a destroyed box's Application goes once its file is out of Git.

The order matters: the ApplicationSet has to have read Git without the file, or it would make the Application again. So
it is asked, and only when the request is consumed the Application is deleted, without cascade; then it is asked once
more, and only an Application that is still gone after that is gone for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from typing import Any

from controller.clients import argocd, kubernetes
from controller.clients.cells import Cells
from controller.clients.kubernetes import Cluster
from controller.core import clock, failpoints, metrics
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError, Temporary
from controller.domain import jobs, retirements
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState, Verb
from controller.domain.retirements import ASK_AGAIN, Retirement
from controller.domain.states import State
from controller.domain.strays import Stray
from controller.gitops import manifests

log = logs.get(__name__)

RETIRED = metrics.counter("boxes_retired", "Boxes of which nothing but rows is left")
FAILURES = metrics.counter("retirement_failures", "Steps of a retirement that failed, by our error code", "error")


class StillThere(CloudError):
    """Raised when something of the box lives in the cluster, whatever our rows say: then nothing of it is removed."""


class Step(Enum):
    """What was done about an Application: nothing yet, its set was asked to read Git, the same after the Application
    was deleted or found to be gone, or nothing of it is left."""

    NONE = auto()
    ASKED = auto()
    DELETED = auto()
    OVER = auto()


async def obstacles(cells: Cells, batch: Iterable[Job], owners: Mapping[str, Box]) -> dict[str, CloudError]:
    """Why the file of a box may not leave Git now, by the job that would take it out; only for jobs that would.

    ``owners``: the batch's boxes by id. A cell whose cluster is away is asked once.
    """
    found: dict[str, CloudError] = {}
    away: dict[str, CloudError] = {}
    for job in batch:
        if job.verb == Verb.RETIRE:
            cell = owners[job.box_id].cell
            try:
                if cell in away:
                    raise away[cell]
                await asyncio.to_thread(emptied, cells.of(cell), job.box_id)
            except CloudError as error:
                found[job.id] = error
                away |= {cell: error} if isinstance(error, Temporary) else {}
    return found


async def finish(database: Database, cells: Cells) -> None:
    """Every committed retirement is one step further; what holds one up is on its job and holds up no other.

    A cell whose cluster is away is asked once.
    """
    async with database.transaction() as session:
        due = await retirements.unfinished(session)
    away: dict[str, CloudError] = {}
    for job, cell in due:
        failure = away.get(cell)
        try:
            if failure is None:
                await _step(database, cells.of(cell), job)
        except CloudError as error:
            failure = error
            away |= {cell: error} if isinstance(error, Temporary) else {}
            FAILURES.labels(error.code).inc()
            log.warning("retiring.step_failed", box_id=job.box_id, error=str(error))
        if failure is not None or job.error is not None:
            await _note(database, job, failure)


async def _step(database: Database, cluster: Cluster, job: Job) -> None:
    async with database.transaction() as session:
        row = await session.get(Retirement, job.id)
    step = await asyncio.to_thread(take_away, cluster, job.box_id, row, emptied)
    if step == Step.NONE:
        return
    now = clock.now()
    async with database.transaction() as session:
        if step == Step.OVER:
            await retirements.over(session, job.box_id)
        else:
            deleted_at = now if step == Step.DELETED else None
            await session.merge(Retirement(job_id=job.id, asked_at=now, deleted_at=deleted_at))
    if step == Step.OVER:
        RETIRED.inc()
        log.info("retiring.done", box_id=job.box_id, job_id=job.id)


def take_away(
    cluster: Cluster,
    box_id: str,
    row: Retirement | Stray | None,
    check: Callable[[Cluster, str], dict[str, Any] | None],
) -> Step:
    """Take the next step with the Application of a box whose file is out of Git; the caller writes down which it was.

    ``check`` gives the Application, if there is one, and raises StillThere if it has to stay. The set is asked before
    that is written down, or a kill would forget to ask.
    """
    name = manifests.application_set(box_id)
    if row is None or row.asked_at is None:
        step = Step.ASKED
    elif cluster.refresh_asked(name):
        if clock.now() - row.asked_at <= ASK_AGAIN:
            return Step.NONE
        step = Step.DELETED if row.deleted_at is not None else Step.ASKED
    elif (application := check(cluster, box_id)) is not None:
        cluster.delete_application(application)
        log.info("retiring.application_deleted", box_id=box_id)
        failpoints.hit("retiring.deleted")
        step = Step.DELETED
    elif row.deleted_at is None:
        step = Step.DELETED
    else:
        return Step.OVER
    cluster.refresh(name)
    failpoints.hit("retiring.asked")
    return step


def emptied(cluster: Cluster, box_id: str) -> dict[str, Any] | None:
    """The box's Application, if there is one and nothing of the box lives.

    Raises StillThere if anything does, or if the Application's deletion would take something along.
    """
    if cluster.has_namespace(kubernetes.namespace(box_id)):
        raise StillThere("retire_namespace_there", box=box_id)
    application = cluster.application(box_id)
    if application is None:
        return None
    seen = argocd.read(application)
    if seen.resources or seen.asked_state != State.DESTROYED or seen.operating or seen.sync != "Synced":
        told = {"resources": seen.resources, "state": seen.asked_state, "sync": seen.sync}
        raise StillThere("retire_application_not_empty", box=box_id, **told)
    return uncascading(application)


def uncascading(application: dict[str, Any]) -> dict[str, Any]:
    """The Application. Raises StillThere if its deletion would take something along."""
    if finalizers := application["metadata"].get("finalizers"):
        box_id = application["metadata"]["name"]
        raise StillThere("retire_application_cascades", box=box_id, finalizers=",".join(finalizers)[:100])
    return application


async def _note(database: Database, job: Job, failure: CloudError | None) -> None:
    async with database.transaction() as session:
        stored = await session.get_one(Job, job.id, with_for_update=True, populate_existing=True)
        if stored.state == JobState.COMMITTED:
            stored.error = None
            if failure is not None:
                jobs.waits(stored, failure)
