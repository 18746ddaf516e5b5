"""The watcher over the stand-in's API server: what it shows, and that no break loses anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.clients import kubernetes
from controller.clients.kubernetes import Change, Cluster, ClusterSettings
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.domain import jobs
from controller.domain.jobs import Job, JobState
from controller.domain.sightings import Sighting
from controller.workers import provisioning, watcher
from tests.clients.test_kubernetes import ARGO, add, reached, server
from tests.proxy.conftest import bought
from tests.proxy.waiting import until
from tests.sandbox.cluster import objects, running
from tests.sandbox.cluster.conftest import own_cluster
from tests.sandbox.cluster.running import Cluster as Live
from tests.sandbox.cluster.serving import Served
from tests.workers.test_provisioning import job_of, seen
from tests.workers.towns import Town, town

__all__ = ["own_cluster", "server"]


@asynccontextmanager
async def watching(
    database: Database, cluster: Cluster, queue: QueueSettings, cell: str = "local"
) -> AsyncIterator[None]:
    """A watcher of the cell while the block runs."""
    stop = asyncio.Event()
    task = asyncio.create_task(watcher.run(database, cluster, Doorbell(queue), stop, cell))
    try:
        yield
        assert not task.done(), "the watcher ended on its own"
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)


async def sighting(database: Database, box_id: str) -> Sighting | None:
    async with database.transaction() as session:
        found: Sighting | None = await session.get(Sighting, box_id)
    return found


async def awaited(database: Database, server: Served) -> str:
    """A box whose change is in Git, and whose application says nothing yet."""
    box_id, _ = await bought(database)
    await job_of(database, box_id, committed=True)
    add(server, box_id)
    return box_id


def put(server: Served, box_id: str, rev: int, **status: Any) -> None:
    source = {"helm": {"valuesObject": {"spec": {"rev": rev, "state": "active"}}}}
    sync = {"status": "Synced", "comparedTo": {"source": source}}
    made = {"sync": sync, "health": {"status": "Healthy"}, "operationState": {"phase": "Succeeded"}, **status}
    server.custom.patch_namespaced_custom_object_status(*ARGO, "applications", box_id, {"status": made})


async def is_synced(database: Database, box_id: str, rev: int = 1) -> bool:
    async with database.transaction() as session:
        found = [job for job in await jobs.open_of(session, box_id, JobState.SYNCED) if job.rev == rev]
    return bool(found)


async def test_a_watcher_speaks_for_its_own_cell_whatever_an_application_says(database: Database) -> None:
    box_id, _ = await bought(database)
    values = {"cell": {"name": "local"}, "spec": {"rev": 1, "state": "active"}}
    change = Change("MODIFIED", objects.application(box_id, "argocd"))
    change.object["spec"] = {"source": {"helm": {"valuesObject": values}}}
    assert (await watcher.Books(database, "us1-a").enter(change)).cell == "us1-a"
    assert await sighting(database, box_id) is None
    await watcher.Books(database, "local").enter(change)
    await watcher.Books(database, "us1-a").close(change)
    assert await sighting(database, box_id) is not None


async def test_what_an_application_says_is_kept_until_it_is_gone(
    server: Served, database: Database, queue: QueueSettings, tmp_path: Path
) -> None:
    box_id, _ = await bought(database)
    add(server, box_id)
    async with watching(database, reached(tmp_path, server.url), queue):
        put(server, box_id, 1, operationState={"phase": "Failed", "message": "refused"})
        await until(lambda: failed(database, box_id))
        server.custom.delete_namespaced_custom_object(*ARGO, "applications", box_id)
        await until(lambda: gone(database, box_id))


async def failed(database: Database, box_id: str) -> bool:
    found = await sighting(database, box_id)
    return found is not None and (found.phase, found.message) == ("Failed", "refused")


async def gone(database: Database, box_id: str) -> bool:
    return await sighting(database, box_id) is None


async def test_a_watcher_that_takes_over_sees_what_happened_in_between(
    server: Served, database: Database, queue: QueueSettings, tmp_path: Path
) -> None:
    box_id = await awaited(database, server)
    cluster = reached(tmp_path, server.url)
    async with watching(database, cluster, queue):
        await until(lambda: exists(database, box_id))
    put(server, box_id, 1)
    async with watching(database, cluster, queue):
        await until(lambda: is_synced(database, box_id))


async def exists(database: Database, box_id: str) -> bool:
    return await sighting(database, box_id) is not None


class Short(Cluster):
    """A cluster whose watches end at once, so that many follow one another; ``versions`` is where each began."""

    versions: list[str]

    def changes(self, since: str, seconds: int = 0) -> Any:
        self.versions.append(since)
        return super().changes(since, 0)


async def test_one_watch_goes_on_where_the_last_one_ended_without_another_list(
    server: Served, database: Database, queue: QueueSettings, tmp_path: Path
) -> None:
    box_id = await awaited(database, server)
    reached(tmp_path, server.url)
    short = Short(ClusterSettings(kubeconfig=tmp_path / "kubeconfig"))
    short.versions = []
    lists = watcher.LISTS._value.get()
    async with watching(database, short, queue):
        await until(lambda: exists(database, box_id))
        put(server, box_id, 1)
        await until(lambda: is_synced(database, box_id))
    assert watcher.LISTS._value.get() - lists == 1
    assert len(set(short.versions)) > 1


class Forgetful(Cluster):
    """A cluster that no longer knows the version of its first watch."""

    asked = 0

    def changes(self, since: str, seconds: int = 0) -> Any:
        self.asked += 1
        return super().changes("999999" if self.asked == 1 else since, 1)


async def test_after_a_version_that_is_too_old_it_lists_again(
    server: Served, database: Database, queue: QueueSettings, tmp_path: Path
) -> None:
    box_id = await awaited(database, server)
    reached(tmp_path, server.url)
    forgetful = Forgetful(ClusterSettings(kubeconfig=tmp_path / "kubeconfig"))
    async with watching(database, forgetful, queue):
        await until(lambda: asked_again(forgetful))
        put(server, box_id, 1)
        await until(lambda: is_synced(database, box_id))


async def asked_again(forgetful: Forgetful) -> bool:
    return forgetful.asked > 1


async def test_an_api_server_that_was_killed_and_came_back_is_followed_again(
    database: Database, own_cluster: Live, queue: QueueSettings, tmp_path: Path
) -> None:
    async with town(database, own_cluster, tmp_path) as lived, watching(database, lived.cluster, queue, running.CELL):
        await until(lambda: exists(database, lived.box_id))
        await asyncio.to_thread(own_cluster.kill)
        await asyncio.to_thread(own_cluster.start)
        await scaled_by_hand(lived)
        await until(lambda: healed(database, lived.box_id))


async def scaled_by_hand(lived: Town) -> None:
    space = kubernetes.namespace(lived.box_id)
    await asyncio.to_thread(lived.cluster.scale_to_zero, space)


async def healed(database: Database, box_id: str) -> bool:
    found = await sighting(database, box_id)
    return found is not None and found.last_drift_at is not None


@pytest.mark.parametrize("cancelled", [True, False])
async def test_no_thread_of_it_is_left_whether_it_was_cancelled_or_stopped(
    server: Served, database: Database, queue: QueueSettings, tmp_path: Path, cancelled: bool
) -> None:
    box_id, _ = await bought(database)
    add(server, box_id)
    before, stop = set(threading.enumerate()), asyncio.Event()
    task = asyncio.create_task(watcher.run(database, reached(tmp_path, server.url), Doorbell(queue), stop, "local"))
    await until(lambda: exists(database, box_id))
    followers = [one for one in threading.enumerate() if one not in before and "_follow" in one.name]
    task.cancel() if cancelled else stop.set()
    await asyncio.gather(task, return_exceptions=True)
    assert (len(followers), [one for one in followers if one.is_alive()]) == (1, [])


async def test_an_erasure_is_done_once_nothing_is_listed_any_more(
    database: Database, server: Served, tmp_path: Path
) -> None:
    box_id, _ = await bought(database)
    made: Job = await job_of(database, box_id, committed=True)
    async with database.transaction() as session:
        (await session.get_one(Job, made.id)).verb = "erase"
    cluster = reached(tmp_path, server.url)
    look = seen(box_id)
    assert await provisioning.observe(database, cluster, look) is True
    assert await provisioning.observe(database, cluster, replace(look, resources=0)) is False
