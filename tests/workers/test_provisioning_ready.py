"""When a job that needs the gateway is done: once the gateway that runs now has reported, whenever that was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.clients import kubernetes
from controller.clients.kubernetes import Cluster
from controller.core.db import Database
from controller.domain import boxes, completion, jobs, lifecycle
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Why
from controller.workers import provisioning
from tests import factories
from tests.clients.test_kubernetes import reached
from tests.proxy.conftest import bought
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.serving import Served, served
from tests.workers.test_provisioning import seen

WHY = Why("admin")
STEPS: dict[str, Callable[[AsyncSession, Box], Awaitable[object]]] = {
    "suspend": lambda session, box: lifecycle.suspend(session, box, WHY),
    "resize": lambda session, box: lifecycle.resize(session, box, "team", WHY),
    "condemn": lambda session, box: lifecycle.condemn(session, box, WHY),
    "reactivate": lambda session, box: lifecycle.reactivate(session, factories.mint(), box, WHY),
}


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Served]:
    """The API server of a cluster without a pod."""
    with served(tmp_path / "objects.sqlite") as made:
        yield made


@pytest.fixture
def cluster(there: Served, tmp_path: Path) -> Cluster:
    return reached(tmp_path, there.url)


@contextmanager
def pod(there: Served, box_id: str) -> Iterator[None]:
    """The box has a pod while the block runs."""
    space = kubernetes.namespace(box_id)
    there.core.create_namespace(objects.namespace(space))
    there.core.create_namespaced_pod(space, objects.pod(space=space))
    yield
    there.core.patch_namespaced_pod_status("agent", space, {"status": {"phase": "Succeeded"}})
    there.core.delete_collection_namespaced_pod(space)


async def report(database: Database, box_id: str) -> None:
    async with database.transaction() as session:
        await completion.report_ready(session, box_id, profile=1, gateway="x")


async def change(database: Database, cluster: Cluster, box_id: str, *verbs: str) -> None:
    """What admins did, and that Git and the cluster have all of it."""
    await commit(database, box_id, *verbs)
    assert await look(database, cluster, box_id) is False


async def commit(database: Database, box_id: str, *verbs: str) -> None:
    async with database.transaction() as session:
        box = await boxes.get(session, box_id)
        for verb in verbs:
            await STEPS[verb](session, box)
        for job in await jobs.open_of(session, box_id, JobState.QUEUED):
            jobs.committed(job, "a" * 40)


async def look(database: Database, cluster: Cluster, box_id: str) -> bool:
    """Whether another look at a cluster that runs the newest rev may prove more."""
    async with database.transaction() as session:
        rev = (await boxes.get(session, box_id)).rev
    return await provisioning.observe(database, cluster, seen(box_id, rev))


async def states(database: Database) -> list[str]:
    async with database.transaction() as session:
        return [job.state for job in await session.scalars(select(Job).order_by(Job.rev))]


async def test_a_report_that_came_before_the_commit_was_recorded_counts(database: Database, cluster: Cluster) -> None:
    box_id, _ = await bought(database)
    await report(database, box_id)
    await change(database, cluster, box_id)
    assert await states(database) == ["done"]


async def test_a_box_that_was_never_seen_stopped_need_not_report_again(database: Database, cluster: Cluster) -> None:
    box_id, _ = await bought(database)
    await change(database, cluster, box_id)
    await report(database, box_id)
    await change(database, cluster, box_id, "suspend", "reactivate")
    assert await states(database) == ["done"] * 3


async def test_a_box_that_was_stopped_must_report_again(database: Database, cluster: Cluster) -> None:
    box_id, _ = await bought(database)
    await change(database, cluster, box_id)
    await report(database, box_id)
    await change(database, cluster, box_id, "suspend")
    await change(database, cluster, box_id, "reactivate")
    assert await states(database) == ["done", "done", "synced"]
    await report(database, box_id)
    assert await states(database) == ["done"] * 3


@pytest.mark.parametrize("steps", [["suspend", "resize"], ["suspend", "condemn"], ["reactivate", "suspend", "resize"]])
async def test_a_stop_that_was_overtaken_is_over_once_no_pod_is_left(
    database: Database, cluster: Cluster, there: Served, steps: list[str]
) -> None:
    box_id, _ = await bought(database)
    await change(database, cluster, box_id)
    await report(database, box_id)
    with pod(there, box_id):
        await commit(database, box_id, *steps)
        assert await look(database, cluster, box_id) is True
        assert await states(database) == ["done", "committed", "committed"]
    assert await look(database, cluster, box_id) is False
    assert await states(database) == ["done"] * 3


async def test_a_stop_that_a_start_overtook_asks_for_no_look_at_pods(
    database: Database, cluster: Cluster, there: Served
) -> None:
    box_id, _ = await bought(database)
    await change(database, cluster, box_id)
    await report(database, box_id)
    with pod(there, box_id):
        await change(database, cluster, box_id, "suspend", "resize", "reactivate")
    assert await states(database) == ["done"] * 4


async def test_a_box_that_was_stopped_and_resized_must_report_again(database: Database, cluster: Cluster) -> None:
    box_id, _ = await bought(database)
    await change(database, cluster, box_id)
    await report(database, box_id)
    await change(database, cluster, box_id, "suspend", "resize")
    await change(database, cluster, box_id, "reactivate")
    assert await states(database) == ["done", "done", "done", "synced"]
