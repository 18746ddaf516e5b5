"""Connections on their way into Git: few commits, whole ones, and no secret in any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core import clock
from controller.core.db import Database
from controller.core.settings import DatabaseSettings
from controller.domain import boxes, jobs, lifecycle
from controller.domain.lifecycle import Why
from controller.gitops import manifests
from controller.gitops.repository import GitSettings, Repository
from controller.workers import provisioning
from tests import factories
from tests.gitops import remotes


class Interrupted(Repository):
    """A writer's repository during whose next look for the tip something else happens."""

    meanwhile: Callable[[], None] | None = None

    def tip(self) -> str:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().tip()


class Writer:
    """The Git writer with one box that is in Git already."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.remote = remotes.create(folder / "remote.git")
        self.repository = Interrupted(GitSettings(git_remote=str(self.remote), git_clone_dir=folder / "clone.git"))
        kubeconfig = folder / "kubeconfig"
        YAML().dump(_nowhere(), kubeconfig)
        self.cluster = Cluster(ClusterSettings(kubeconfig=kubeconfig))
        self.dsn = dsn
        self.box_id = ""

    async def run(self) -> None:
        database = self.database()
        await provisioning.write_commits(database, self.repository, self.cluster)
        await database.close()

    async def provision(self) -> None:
        mint, database = factories.mint(), self.database()
        async with database.transaction() as session:
            draft = await factories.draft(session, mint)
            job = await lifecycle.converge(session, mint, factories.facts(draft.id), Why("stripe"))
            assert job is not None
            self.box_id = job.box_id
        await database.close()
        await self.run()

    async def connect(self, provider: str) -> None:
        database = self.database()
        async with database.transaction() as session:
            box = await boxes.get(session, self.box_id, lock=True)
            await lifecycle.connect(session, box, provider, Why("admin", "req_1"))
        await database.close()

    async def live_profile(self) -> int:
        database = self.database()
        async with database.transaction() as session:
            live = (await boxes.get(session, self.box_id)).live_profile
        await database.close()
        return live

    def database(self) -> Database:
        return Database(DatabaseSettings.model_validate({"postgres_dsn": self.dsn}))

    def commits(self) -> list[str]:
        return remotes.git(self.remote, "log", "--reverse", "--format=%(trailers:key=Action,valueonly)").split()

    def spec(self) -> manifests.Spec:
        path = manifests.path("local", self.box_id)
        return manifests.read(remotes.git(self.remote, "show", f"main:{path}").encode()).spec

    def connected(self) -> list[str]:
        return [one.provider for one in self.spec().connections]


def _nowhere() -> dict[str, object]:
    named = {"name": "nowhere"}
    context = {**named, "context": {"cluster": "nowhere", "user": "nowhere"}}
    cluster = {**named, "cluster": {"server": "http://127.0.0.1:9"}}
    return {
        "current-context": "nowhere",
        "contexts": [context],
        "clusters": [cluster],
        "users": [{**named, "user": {}}],
    }


@pytest.fixture
async def writer(tmp_path: Path, dsn: str) -> Writer:
    made = Writer(tmp_path, dsn)
    await made.provision()
    return made


async def test_a_burst_of_three_gives_two_commits_and_the_second_has_all(writer: Writer) -> None:
    with clock.frozen(clock.now()):
        for provider in ("linear", "github", "slack"):
            await writer.connect(provider)
            await writer.run()
    with clock.frozen(clock.now() + jobs.BURST + timedelta(seconds=1)):
        await writer.run()
    assert writer.commits() == ["provision", "update_connections", "update_connections"]
    assert writer.connected() == ["github", "slack", "linear"]


async def test_the_box_gets_it_only_with_the_commit(writer: Writer) -> None:
    await writer.connect("linear")
    assert await writer.live_profile() == 1
    await writer.run()
    assert await writer.live_profile() == writer.spec().profile == 2


async def test_what_is_connected_while_the_writer_begins_is_in_its_commit(writer: Writer) -> None:
    await writer.connect("linear")
    writer.repository.meanwhile = lambda: asyncio.run(writer.connect("jira"))
    await writer.run()
    assert writer.commits() == ["provision", "update_connections"]
    assert writer.connected() == ["linear", "jira"]


async def test_a_commit_changes_the_connections_the_profile_and_the_rev_alone(writer: Writer) -> None:
    before = writer.spec().model_dump()
    await writer.connect("linear")
    await writer.run()
    after = writer.spec().model_dump()
    assert {name for name in after if after[name] != before[name]} == {"rev", "profile", "connections"}
