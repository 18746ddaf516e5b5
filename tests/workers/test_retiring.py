"""A destroyed box's file leaves Git, its Application then the cluster, and nothing that lives goes along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from controller.clients import kubernetes
from controller.clients.kubernetes import REFRESH, Cluster
from controller.core import clock
from controller.core.db import Database
from controller.domain import boxes, jobs, lifecycle, retirements
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import LifecycleSettings, Why
from controller.gitops import manifests
from controller.gitops.repository import GitSettings, Repository
from controller.workers import adopting, provisioning, replaying, retiring
from tests import factories
from tests.clients.test_kubernetes import ARGO, reached
from tests.gitops import remotes
from tests.proxy.conftest import bought
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.serving import Served, served
from tests.workers.armed import raising

NONE = timedelta(0)
EMPTY: dict[str, Any] = {"sync": {"status": "Synced"}, "resources": []}


@dataclass
class Grave:
    """A destroyed box in real Postgres and Git, and what an Argo CD that does nothing by itself has left of it."""

    server: Served
    cluster: Cluster
    database: Database
    repository: Repository
    remote: Path
    box_id: str

    def put_application(self, state: str = "destroyed", *, status: dict[str, Any] | None = None, **meta: Any) -> None:
        made = objects.application(self.box_id, "argocd")
        made["metadata"] |= meta
        made["spec"] = {"source": {"helm": {"valuesObject": {"spec": {"rev": 4, "state": state}}}}}
        self.server.custom.create_namespaced_custom_object(*ARGO, "applications", made)
        body = {"status": EMPTY if status is None else status}
        self.server.custom.patch_namespaced_custom_object_status(*ARGO, "applications", self.box_id, body)

    def read_git(self) -> None:
        """What the ApplicationSet controller does with the request to read Git."""
        body = {"metadata": {"annotations": {REFRESH: None}}}
        name = manifests.application_set(self.box_id)
        self.server.custom.patch_namespaced_custom_object(*ARGO, "applicationsets", name, body)

    @property
    def asked(self) -> bool:
        return self.cluster.refresh_asked(manifests.application_set(self.box_id))

    @property
    def there(self) -> tuple[bool, bool]:
        """Whether its file and its Application are there."""
        files = remotes.git(self.remote, "ls-tree", "-r", "--name-only", "main")
        return self.box_id in files, self.cluster.application(self.box_id) is not None

    async def write(self) -> None:
        await provisioning.write_commits(self.database, self.repository, self.cluster, retire_after=NONE)

    async def look(self) -> None:
        await adopting.adopt(self.database, self.repository, factories.mint())
        await self.write()

    async def raise_retirement(self) -> None:
        async with self.database.transaction() as session:
            await retirements.raise_due(session, NONE)

    async def finish(self) -> None:
        await retiring.finish(self.database, self.cluster)

    async def job(self) -> Job:
        async with self.database.transaction() as session:
            return (await session.scalars(select(Job).order_by(Job.rev.desc()).limit(1))).one()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "objects.sqlite") as made:
        made.core.create_namespace(objects.namespace("argocd"))
        for digit in "0123456789abcdef":
            body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet"}
            one = {**body, "metadata": {"name": f"boxes-{digit}"}, "spec": {}}
            made.custom.create_namespaced_custom_object(*ARGO, "applicationsets", one)
        yield made


@pytest.fixture
async def grave(server: Served, database: Database, tmp_path: Path) -> Grave:
    remote = remotes.create(tmp_path / "remote.git")
    repository = Repository(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "clone.git"))
    box_id, _ = await bought(database)
    made = Grave(server, reached(tmp_path, server.url), database, repository, remote, box_id)
    await adopting.adopt(database, repository, factories.mint())
    async with database.transaction() as session:
        await lifecycle.condemn(session, await boxes.get(session, box_id, lock=True), Why("stripe", "evt_2"))
    for _ in range(3):
        await made.write()
        async with database.transaction() as session:
            for job in await jobs.open_of(session, box_id):
                jobs.done(job)
            await lifecycle.end_retention(session, LifecycleSettings(retention=NONE))
    made.read_git()
    return made


async def test_the_file_goes_first_and_the_application_once_argo_cd_has_read_git(grave: Grave) -> None:
    grave.put_application()
    await grave.raise_retirement()
    await grave.write()
    grave.read_git()
    await grave.finish()
    await grave.finish()
    assert (grave.there, grave.asked) == ((False, True), True)
    grave.read_git()
    await grave.finish()
    assert (grave.there, (await grave.job()).state, grave.asked) == ((False, False), JobState.COMMITTED, True)
    grave.read_git()
    await grave.finish()
    async with grave.database.transaction() as session:
        assert (await boxes.get(session, grave.box_id)).retired_at is not None
    assert (await grave.job()).state == JobState.DONE


async def through(grave: Grave, rounds: int = 4) -> None:
    for _ in range(rounds):
        await grave.finish()
        grave.read_git()


async def test_an_application_that_a_late_set_makes_again_is_deleted_again(grave: Grave) -> None:
    grave.put_application()
    await grave.raise_retirement()
    await grave.write()
    await through(grave, 2)
    assert grave.there == (False, False)
    grave.put_application()
    await through(grave, 1)
    assert ((await grave.job()).state, grave.there) == (JobState.COMMITTED, (False, False))
    await through(grave)
    assert ((await grave.job()).state, grave.there) == (JobState.DONE, (False, False))


async def test_a_set_that_does_not_read_git_is_asked_again_and_nothing_is_deleted(grave: Grave) -> None:
    grave.put_application()
    await grave.raise_retirement()
    await grave.write()
    await grave.finish()
    name = manifests.application_set(grave.box_id)
    before = grave.server.custom.get_namespaced_custom_object(*ARGO, "applicationsets", name)
    with clock.frozen(clock.now() + 2 * retirements.ASK_AGAIN):
        await grave.finish()
    after = grave.server.custom.get_namespaced_custom_object(*ARGO, "applicationsets", name)
    assert before["metadata"]["annotations"] != after["metadata"]["annotations"]
    assert grave.there == (False, True)


ALIVE: dict[str, dict[str, Any]] = {
    "resources": {"status": {**EMPTY, "resources": [{"kind": "PersistentVolumeClaim"}]}},
    "another state": {"state": "condemned"},
    "not compared": {"status": {}},
    "out of sync": {"status": {"sync": {"status": "OutOfSync"}, "resources": []}},
    "a cascade": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]},
}


@pytest.mark.parametrize("alive", ALIVE)
async def test_whatever_lives_keeps_file_and_application(grave: Grave, alive: str) -> None:
    grave.put_application(**ALIVE[alive])
    await grave.raise_retirement()
    await grave.write()
    job = await grave.job()
    assert (grave.there, job.state, str(job.error)[:19]) == ((True, True), JobState.QUEUED, "retire_application_")


async def test_a_namespace_keeps_file_and_application(grave: Grave) -> None:
    grave.put_application()
    grave.server.core.create_namespace(objects.namespace(kubernetes.namespace(grave.box_id)))
    await grave.raise_retirement()
    await grave.write()
    assert (grave.there, (await grave.job()).error) == ((True, True), f"retire_namespace_there (box={grave.box_id})")


async def test_what_comes_to_life_after_the_commit_keeps_the_application_and_is_told(grave: Grave) -> None:
    grave.put_application()
    await grave.raise_retirement()
    await grave.write()
    grave.server.core.create_namespace(objects.namespace(kubernetes.namespace(grave.box_id)))
    await through(grave)
    job = await grave.job()
    assert (grave.there, job.state) == ((False, True), JobState.COMMITTED)
    assert job.error == f"retire_namespace_there (box={grave.box_id})"


@pytest.mark.parametrize("point", ["retiring.asked", "retiring.deleted"])
async def test_a_step_that_was_cut_off_is_taken_again(grave: Grave, tmp_path: Path, point: str) -> None:
    grave.put_application()
    await grave.raise_retirement()
    await grave.write()
    with raising(tmp_path, point):
        await through(grave, 2)
        assert (tmp_path / "hits").read_text().split() == [point]
    await through(grave)
    assert (grave.there, (await grave.job()).state, (await grave.job()).error) == ((False, False), JobState.DONE, None)


async def retired(grave: Grave) -> None:
    await grave.raise_retirement()
    await grave.look()
    await through(grave)
    assert (await grave.job()).state == JobState.DONE


async def test_a_revert_of_the_retirement_is_taken_back(grave: Grave) -> None:
    path = manifests.path("local", grave.box_id)
    content = remotes.git(grave.remote, "show", f"main:{path}").encode() + b"\n"
    await retired(grave)
    for state, deletion in ((b"destroyed", b"approved"), (b"active", b"held")):
        changed = content.replace(b"destroyed", state).replace(b"approved", deletion)
        remotes.commit(grave.remote, {path: changed}, "ops: bring it back")
        await grave.look()
        assert grave.there == (False, False)


async def test_what_people_change_just_before_it_is_neither_put_back_nor_adopted(grave: Grave) -> None:
    path = manifests.path("local", grave.box_id)
    content = remotes.git(grave.remote, "show", f"main:{path}").encode() + b"\n"
    remotes.commit(grave.remote, {path: content.replace(b"ring: 2", b"ring: 1")}, "ops: late")
    await grave.raise_retirement()
    await grave.write()
    await grave.look()
    assert (grave.there[0], (await grave.job()).verb) == (False, "retire")


async def test_a_replay_finds_nothing_amiss(grave: Grave) -> None:
    await retired(grave)
    assert await replaying.replay(grave.database, grave.repository) == []


async def test_a_postgres_from_before_the_retirement_learns_of_it_from_git(grave: Grave) -> None:
    await retired(grave)
    async with grave.database.transaction() as session:
        box = await boxes.get(session, grave.box_id, lock=True)
        await session.delete(await session.get_one(retirements.Retirement, (await grave.job()).id))
        await session.delete(await session.get_one(Job, (await grave.job()).id))
        box.retired_at, box.rev = None, box.rev - 1
    [found] = await replaying.replay(grave.database, grave.repository)
    assert (found.newer, found.reason) == ("git", "retired in Git")
    assert await replaying.adopt(grave.database, grave.repository, factories.mint()) == []
