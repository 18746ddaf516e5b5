"""Two cells: each box is asked about, refreshed and retired in its own cluster alone, and no cell waits for another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from controller.clients.cells import Clusters
from controller.clients.kubernetes import REFRESH, Cluster, ClusterSettings
from controller.core import clock
from controller.core.db import Database
from controller.core.queue import Bell, Doorbell
from controller.core.settings import QueueSettings
from controller.domain import bells, boxes, jobs, retirements
from controller.domain.boxes import Box, Place
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import LifecycleSettings
from controller.gitops import manifests
from controller.gitops.repository import GitSettings, Repository
from controller.workers import adopting, provisioning, retiring, sweeper
from tests import factories
from tests.clients.test_kubernetes import ARGO, reached
from tests.gitops import remotes
from tests.proxy.conftest import bought
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.serving import Served, served
from tests.workers.test_provisioning import KUBECONFIG

NAMES = ("eu1-a", "us1-a")
NONE = timedelta(0)
KEEP = LifecycleSettings(retention=NONE, retire_after=NONE)


@dataclass
class Cell:
    """An API server with the sets of a cell, where nothing acts by itself, and a box that lives there."""

    server: Served
    cluster: Cluster
    box_id: str

    def asked(self) -> set[str]:
        """The sets that are to read Git."""
        listed = self.server.custom.list_namespaced_custom_object(*ARGO, "applicationsets")["items"]
        return {one["metadata"]["name"] for one in listed if REFRESH in one["metadata"].get("annotations", {})}

    def read_git(self) -> None:
        """What the ApplicationSet controller does when it is asked to."""
        for name in self.asked():
            body = {"metadata": {"annotations": {REFRESH: None}}}
            self.server.custom.patch_namespaced_custom_object(*ARGO, "applicationsets", name, body)

    def put_application(self, box_id: str) -> None:
        """The empty Application of a box that is destroyed."""
        made = objects.application(box_id, "argocd")
        made["spec"] = {"source": {"helm": {"valuesObject": {"spec": {"rev": 4, "state": "destroyed"}}}}}
        self.server.custom.create_namespaced_custom_object(*ARGO, "applications", made)
        body = {"status": {"sync": {"status": "Synced"}, "resources": []}}
        self.server.custom.patch_namespaced_custom_object_status(*ARGO, "applications", box_id, body)

    def applications(self) -> set[str]:
        return {one["metadata"]["name"] for one in self.cluster.applications()[0]}


@dataclass
class Fleet:
    """Two cells around one Postgres and one GitOps repository."""

    database: Database
    repository: Repository
    remote: Path
    here: Cell
    there: Cell
    gone: Cluster

    @property
    def clusters(self) -> Clusters:
        return Clusters(dict(zip(NAMES, (self.here.cluster, self.there.cluster), strict=True)))

    @property
    def half(self) -> Clusters:
        """The same, while the first cell's cluster is away."""
        return Clusters(dict(zip(NAMES, (self.gone, self.there.cluster), strict=True)))

    async def write(self, cells: Clusters) -> None:
        await provisioning.write_commits(self.database, self.repository, cells, retire_after=NONE)

    async def destroyed(self) -> None:
        """Both boxes have said so in Git, and their retirements are under way."""
        await self.write(self.clusters)
        for cell in (self.here, self.there):
            path = manifests.path(NAMES[cell is self.there], cell.box_id)
            said = remotes.git(self.remote, "show", f"main:{path}").replace('"active"', '"destroyed"')
            remotes.commit(self.remote, {path: said.replace('"held"', '"approved"').encode() + b"\n"}, "over")
            cell.put_application(cell.box_id)
            cell.read_git()
        tip = self.repository.fetch()
        async with self.database.transaction() as session:
            await session.execute(update(Box).values(state="destroyed", deletion="approved"))
            await session.execute(update(Job).values(state="done", done_at=clock.now(), commit_sha=tip))
            assert len(await retirements.raise_due(session, NONE)) == 2

    async def states(self) -> list[str]:
        """Of the newest job of each box, in the cells' order."""
        newest = select(Job.state).join(Box, (Box.id == Job.box_id) & (Box.rev == Job.rev)).order_by(Box.cell)
        async with self.database.transaction() as session:
            return list(await session.scalars(newest))


@pytest.fixture
async def fleet(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    remote = remotes.create(tmp_path / "remote.git")
    repository = Repository(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "clone.git"))
    with ExitStack() as open_cells:
        made = []
        for name in NAMES:
            monkeypatch.setenv("CELL", name)
            (tmp_path / name).mkdir()
            server = open_cells.enter_context(served(tmp_path / name / "objects.sqlite"))
            fill(server)
            made.append(Cell(server, reached(tmp_path / name, server.url), (await bought(database))[0]))
        gone = Cluster(ClusterSettings(kubeconfig=tmp_path / "kubeconfig"))
        here, there = made
        yield Fleet(database, repository, remote, here, there, gone)


def fill(server: Served) -> None:
    server.core.create_namespace(objects.namespace("argocd"))
    for digit in "0123456789abcdef":
        body: dict[str, Any] = {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "spec": {}}
        body["metadata"] = {"name": f"boxes-{digit}"}
        server.custom.create_namespaced_custom_object(*ARGO, "applicationsets", body)


def sets(*box_ids: str) -> set[str]:
    return {manifests.application_set(box_id) for box_id in box_ids}


async def test_a_commit_is_told_to_the_cell_of_its_box_alone(fleet: Fleet) -> None:
    await fleet.write(fleet.clusters)
    assert (fleet.here.asked(), fleet.there.asked()) == (sets(fleet.here.box_id), sets(fleet.there.box_id))


async def test_a_cell_that_is_away_keeps_no_other_from_being_told(fleet: Fleet) -> None:
    await fleet.write(fleet.half)
    assert await fleet.states() == [JobState.COMMITTED] * 2
    assert (fleet.here.asked(), fleet.there.asked()) == (set(), sets(fleet.there.box_id))


async def test_a_cell_that_nobody_knows_keeps_no_other_from_being_told(fleet: Fleet) -> None:
    await fleet.write(Clusters({NAMES[1]: fleet.there.cluster}))
    assert (await fleet.states(), fleet.there.asked()) == ([JobState.COMMITTED] * 2, sets(fleet.there.box_id))


async def test_what_people_push_is_told_to_the_cell_where_it_stands(fleet: Fleet) -> None:
    await adopting.adopt(fleet.database, fleet.repository, factories.mint())
    astray = manifests.path(NAMES[1], fleet.here.box_id)
    remotes.commit(fleet.remote, {astray: b"nonsense"}, "ops: oh no")
    touched = await adopting.adopt(fleet.database, fleet.repository, factories.mint())
    assert touched == {Place(NAMES[1], fleet.here.box_id)}


async def test_a_box_that_lags_is_asked_for_again_in_its_own_cell(fleet: Fleet) -> None:
    async with fleet.database.transaction() as session:
        places = await boxes.places(session, [fleet.here.box_id, fleet.there.box_id])
    await provisioning.ask_again(fleet.half, places)
    assert (fleet.here.asked(), fleet.there.asked()) == (set(), sets(fleet.there.box_id))


class Heard(Doorbell):
    """A doorbell that writes down who was rung for what."""

    def __init__(self, settings: QueueSettings) -> None:
        super().__init__(settings)
        self.rung: list[tuple[Bell, tuple[str, ...]]] = []

    async def ring(self, bell: Bell, *ids: str, after: timedelta = NONE) -> None:
        self.rung.append((bell, ids))


async def test_boxes_that_lag_are_rung_for_cell_by_cell(fleet: Fleet, queue: QueueSettings) -> None:
    async with fleet.database.transaction() as session:
        for box_id in (fleet.here.box_id, fleet.there.box_id):
            [job] = await jobs.open_of(session, box_id)
            jobs.committed(job, "a" * 40)
    heard = Heard(queue)
    with clock.frozen(clock.now() + sweeper.LAGGING):
        await sweeper.sweep(fleet.database, heard, KEEP)
    rung = {ids for bell, ids in heard.rung if bell == bells.REFRESH}
    assert rung == {(fleet.here.box_id,), (fleet.there.box_id,)}


async def test_a_box_is_retired_in_its_own_cell_alone(fleet: Fleet) -> None:
    await fleet.destroyed()
    fleet.there.put_application(fleet.here.box_id)  # whatever that is, it is not this cell's box
    await fleet.write(fleet.clusters)
    for _ in range(3):
        await retiring.finish(fleet.database, fleet.clusters)
        fleet.here.read_git()
        fleet.there.read_git()
    await retiring.finish(fleet.database, fleet.clusters)
    assert await fleet.states() == [JobState.DONE] * 2
    assert (fleet.here.applications(), fleet.there.applications()) == (set(), {fleet.here.box_id})


async def test_a_cell_that_is_away_keeps_its_own_files_and_no_others(fleet: Fleet) -> None:
    await fleet.destroyed()
    await fleet.write(fleet.half)
    assert await fleet.states() == [JobState.QUEUED, JobState.COMMITTED]


async def test_a_retirement_goes_on_while_another_cell_is_away(fleet: Fleet) -> None:
    await fleet.destroyed()
    await fleet.write(fleet.clusters)
    for _ in range(4):
        await retiring.finish(fleet.database, fleet.half)
        fleet.there.read_git()
    assert await fleet.states() == [JobState.COMMITTED, JobState.DONE]
    assert (fleet.here.applications(), fleet.there.applications()) == ({fleet.here.box_id}, set())


async def test_many_retirements_of_a_cell_leave_another_its_turn(fleet: Fleet) -> None:
    await fleet.destroyed()
    await fleet.write(fleet.clusters)
    async with fleet.database.transaction() as session:
        due = await retirements.unfinished(session, limit=1)
    assert [cell for _, cell in due] == list(NAMES)
