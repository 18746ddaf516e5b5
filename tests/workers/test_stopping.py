"""An admin's stop, step by step, at an API server without Argo CD: what is done, in which order, and done again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.clients import kubernetes
from controller.clients.argocd import SKIP
from controller.clients.kubernetes import HELD, Cluster
from controller.core.db import Database
from controller.domain import boxes, emergencies, progress, stoppages
from controller.domain.lifecycle import Why
from controller.domain.stoppages import Stoppage
from controller.sandbox.processes import free_port
from controller.workers import stopping
from tests import factories
from tests.clients.test_kubernetes import ARGO, reached
from tests.proxy.conftest import bought
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.serving import Served, served
from tests.workers.armed import raising

WHY = Why("admin", "r1")


@dataclass
class Cell:
    """An API server with one box's objects, as Argo CD would have made them; nothing there acts by itself."""

    server: Served
    cluster: Cluster
    database: Database
    box_id: str

    @property
    def space(self) -> str:
        return kubernetes.namespace(self.box_id)

    def put_application(self, rev: int = 1, state: str = "active") -> None:
        """What the box's ApplicationSet makes of Git."""
        spec = {"source": {"helm": {"valuesObject": {"spec": {"rev": rev, "state": state}}}}}
        if self.cluster.application(self.box_id) is None:
            made = {**objects.application(self.box_id, "argocd"), "spec": spec}
            self.server.custom.create_namespaced_custom_object(*ARGO, "applications", made)
        self.server.custom.patch_namespaced_custom_object(*ARGO, "applications", self.box_id, {"spec": spec})

    def put_box(self) -> None:
        """Its namespace, Deployment and pod."""
        self.server.core.create_namespace(objects.namespace(self.space))
        self.server.apps.create_namespaced_deployment(self.space, objects.deployment(space=self.space))
        self.server.core.create_namespaced_pod(self.space, objects.pod(space=self.space))

    def end_pod(self) -> None:
        """What a kubelet does."""
        self.server.core.patch_namespaced_pod_status("agent", self.space, {"status": {"phase": "Succeeded"}})
        self.server.core.delete_collection_namespaced_pod(self.space)

    @property
    def replicas(self) -> int:
        return int(self.server.apps.read_namespaced_deployment("agent", self.space).spec.replicas)

    def meta(self) -> dict[str, Any]:
        found = self.cluster.application(self.box_id)
        assert found is not None
        return {**found["metadata"].get("annotations", {}), **found["metadata"].get("labels", {})}

    async def stop(self) -> Stoppage:
        async with self.database.transaction() as session:
            box = await boxes.get(session, self.box_id, lock=True)
            return await emergencies.stop(session, box, WHY, "it mails strangers")

    async def start(self) -> None:
        async with self.database.transaction() as session:
            await emergencies.start(session, factories.mint(), await boxes.get(session, self.box_id, lock=True), WHY)

    async def look(self) -> None:
        await stopping.look(self.database, self.cluster)

    async def told(self) -> Stoppage:
        async with self.database.transaction() as session:
            found = await stoppages.newest_of(session, self.box_id)
        assert found is not None
        return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "objects.sqlite") as made:
        made.core.create_namespace(objects.namespace("argocd"))
        yield made


@pytest.fixture
async def cell(server: Served, database: Database, tmp_path: Path) -> Cell:
    made = Cell(server, reached(tmp_path, server.url), database, (await bought(database))[0])
    made.put_application()
    made.put_box()
    return made


async def test_argo_cd_is_held_off_and_the_box_scaled_to_zero(cell: Cell) -> None:
    made = await cell.stop()
    await cell.look()
    assert (cell.meta()[SKIP], cell.meta()[HELD], cell.replicas) == ("true", made.id, 0)
    assert (await cell.told()).halted_at is None
    cell.end_pod()
    await cell.look()
    assert (await cell.told()).halted_at is not None


async def test_that_the_pod_is_gone_is_recorded_once(cell: Cell) -> None:
    await cell.stop()
    cell.end_pod()
    for _ in range(3):
        await cell.look()
    async with cell.database.transaction() as session:
        names = [event.name for event in await progress.since(session, cell.box_id)]
        assert (await boxes.get(session, cell.box_id)).ready_at is None
    assert names == ["paid", "stop_asked", "stopped"]


async def test_what_a_sync_that_was_under_way_brings_back_is_stopped_again(cell: Cell) -> None:
    await cell.stop()
    cell.end_pod()
    await cell.look()
    cell.server.apps.patch_namespaced_deployment_scale("agent", cell.space, {"spec": {"replicas": 1}})
    await cell.look()
    assert cell.replicas == 0


async def test_argo_cd_is_let_go_once_its_application_says_what_git_is_to_say(cell: Cell) -> None:
    await cell.stop()
    await cell.look()
    cell.put_application(rev=2, state="suspended")
    await cell.look()
    assert (SKIP in cell.meta(), HELD in cell.meta()) == (False, False)
    assert (await cell.told()).released_at is not None


async def test_a_later_rev_that_leaves_the_box_running_is_not_believed(cell: Cell) -> None:
    await cell.stop()
    cell.put_application(rev=3, state="active")
    await cell.look()
    assert (cell.meta()[SKIP], (await cell.told()).released_at) == ("true", None)


async def test_a_box_that_was_started_again_is_scaled_no_more_and_let_go_with_its_commit(cell: Cell) -> None:
    await cell.stop()
    await cell.look()
    await cell.start()
    cell.server.apps.patch_namespaced_deployment_scale("agent", cell.space, {"spec": {"replicas": 1}})
    await cell.look()
    assert (cell.meta()[SKIP], cell.replicas) == ("true", 1)
    cell.put_application(rev=3, state="active")
    await cell.look()
    assert SKIP not in cell.meta()


@pytest.mark.parametrize("point", ["stopping.held", "stopping.scaled"])
async def test_a_stop_that_ends_at_any_step_is_taken_up_by_the_next_look(
    cell: Cell, tmp_path: Path, point: str
) -> None:
    await cell.stop()
    cell.end_pod()
    with raising(tmp_path, point):
        await cell.look()
    assert "fault_injected" in str((await cell.told()).error)
    await cell.look()
    told = await cell.told()
    assert (told.error, told.halted_at is not None, cell.replicas, cell.meta()[SKIP]) == (None, True, 0, "true")


async def test_a_release_that_was_not_recorded_is_released_again(cell: Cell, tmp_path: Path) -> None:
    await cell.stop()
    await cell.look()
    cell.put_application(rev=2, state="suspended")
    with raising(tmp_path, "stopping.let_go"):
        await cell.look()
    assert (SKIP in cell.meta(), (await cell.told()).released_at) == (False, None)
    await cell.look()
    assert (SKIP in cell.meta(), (await cell.told()).released_at is not None) == (False, True)


async def test_a_box_without_an_application_is_stopped_when_it_gets_one(cell: Cell) -> None:
    cell.server.custom.delete_namespaced_custom_object(*ARGO, "applications", cell.box_id)
    await cell.stop()
    await cell.look()
    assert (cell.replicas, (await cell.told()).released_at) == (0, None)
    cell.put_application()
    await cell.look()
    assert cell.meta()[SKIP] == "true"


async def test_a_cluster_that_is_away_is_told_and_tried_again(cell: Cell, tmp_path: Path) -> None:
    await cell.stop()
    (tmp_path / "gone").mkdir()
    await stopping.look(cell.database, reached(tmp_path / "gone", f"http://127.0.0.1:{free_port()}"))
    assert str((await cell.told()).error).startswith("cluster_away")
    await cell.look()
    assert ((await cell.told()).error, cell.replicas) == (None, 0)


async def test_what_is_held_for_a_stoppage_that_is_over_is_let_go_and_what_ops_hold_is_not(cell: Cell) -> None:
    await cell.stop()
    await cell.look()
    await stopping.release_strays(cell.database, cell.cluster)
    assert SKIP in cell.meta()
    cell.put_application(rev=2, state="suspended")
    await cell.look()
    cell.cluster.hold(cell.box_id, "01stale")
    await stopping.release_strays(cell.database, cell.cluster)
    assert SKIP not in cell.meta()
    by_hand = {"metadata": {"annotations": {SKIP: "true"}}}
    cell.server.custom.patch_namespaced_custom_object(*ARGO, "applications", cell.box_id, by_hand)
    await stopping.release_strays(cell.database, cell.cluster)
    assert SKIP in cell.meta()


async def test_a_box_of_another_cell_is_left_to_the_watcher_there(cell: Cell) -> None:
    await cell.stop()
    await stopping.look(cell.database, cell.cluster, "eu1-b")
    assert (SKIP in cell.meta(), cell.replicas) == (False, 1)
