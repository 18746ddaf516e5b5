"""Snapshots of claims: real copies of their folders, taken before the wave that waits for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from controller.sandbox.cluster import snapshots
from controller.sandbox.cluster.admission import APPROVED, SNAPSHOT_REV, Interlocked
from controller.sandbox.cluster.argo_sets import ARGO
from controller.sandbox.cluster.argo_sync import Sync
from controller.sandbox.cluster.resources import APPLICATION, DEPLOYMENT, PVC, VOLUME_SNAPSHOT, Object
from controller.sandbox.cluster.snapshots import Snapshots
from controller.sandbox.cluster.store import Store
from tests.charts import boxes
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.waiting import end, until

SPACE = f"box-{boxes.ID}"
OLD, NEW = "2026.11.1", "2026.12.1"
KEPT = {"release": OLD, "rev": 8}
NAME = f"data-{OLD}-8"


class Rendered:
    """The box's real chart, in place of a chart repository."""

    def render(self, name: str, source: Any) -> list[Object]:
        """What the chart makes of the source's values, marked as the Application's own."""
        made = boxes.render(source["helm"]["valuesObject"])
        for obj in made:
            mark = {"argocd.argoproj.io/tracking-id": f"{name}:{obj['kind']}/{obj['metadata']['name']}"}
            obj["metadata"]["annotations"] = {**obj["metadata"].get("annotations", {}), **mark}
        return made


class World:
    """A store, Argo CD's sync and a snapshot controller, which the test starts when it wants it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "objects.sqlite")
        self.store.create(objects.namespace("argocd"))
        self.data = folder / "claims" / SPACE / "data"
        self.driver = Snapshots(self.store, folder)
        self.tasks = [asyncio.create_task(Sync(self.store, Rendered(), first_retry_seconds=0.02).run())]  # type: ignore[arg-type]

    def start(self) -> None:
        """The snapshot controller runs from now on."""
        self.tasks.append(asyncio.create_task(self.driver.run()))

    def apply(self, **spec: Any) -> None:
        """The Application asks for the box like this."""
        values = boxes.values(cell={"snapshot_class": "sandbox"}, **spec)
        source = {"targetRevision": values["spec"]["release"], "helm": {"valuesObject": values}}
        policy = {"automated": {"prune": True}}
        meta = {"name": boxes.ID, "namespace": ARGO}
        app = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta}
        app |= {"spec": {"source": source, "syncPolicy": policy}}
        found = self.store.get(APPLICATION, ARGO, boxes.ID)
        self.store.create(app) if found is None else self.store.update({**found, "spec": app["spec"]})

    def release(self) -> str:
        """The one that the live Deployment is of."""
        found = self.store.get(DEPLOYMENT, SPACE, "agent") or {}
        template = found.get("spec", {}).get("template", {})
        return str(template.get("metadata", {}).get("annotations", {}).get("openclaw.cloud/release"))

    def taken(self) -> list[str]:
        """The names of the snapshots that are there."""
        return [obj["metadata"]["name"] for obj in self.store.list(VOLUME_SNAPSHOT)]

    def phase(self) -> str:
        """How far the last operation is."""
        status = (self.store.get(APPLICATION, ARGO, boxes.ID) or {}).get("status", {})
        return str(status.get("operationState", {}).get("phase"))

    def bind(self) -> None:
        """The claim is bound to a volume with a file in it."""
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "memory.md").write_text("her name is Ana")
        self.store.update_status(PVC, SPACE, "data", {"phase": "Bound", "capacity": {"storage": "10Gi"}})

    async def installed(self) -> None:
        """The box is there on its first release, its claim bound."""
        self.apply(rev=7, release=OLD)
        await until(lambda: self.release() == OLD)
        self.bind()

    def copy(self) -> Path:
        """Where the first snapshot's files are."""
        return self.driver.folder(self.store.list(VOLUME_SNAPSHOT)[0])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await end(made.tasks)
    made.store.close()


async def test_the_new_release_comes_only_once_the_volume_is_copied(world: World) -> None:
    await world.installed()
    world.apply(rev=8, release=NEW, snapshot=KEPT)
    await until(lambda: world.taken() == [NAME] and world.phase() == "Running")
    assert world.release() == OLD
    world.start()
    await until(lambda: world.release() == NEW)
    assert (world.copy() / "memory.md").read_text() == "her name is Ana"


async def test_what_is_written_later_is_not_in_it(world: World) -> None:
    await upgraded(world)
    assert (world.copy() / "memory.md").read_text() == "her name is Ana"


async def test_a_snapshot_that_cannot_be_taken_keeps_the_former_release_and_says_why(world: World) -> None:
    await world.installed()
    world.store.update_status(PVC, SPACE, "data", {"phase": "Pending"})
    world.start()
    world.apply(rev=8, release=NEW, snapshot=KEPT)
    await until(lambda: world.phase() == "Failed")
    state = (world.store.get(APPLICATION, ARGO, boxes.ID) or {})["status"]["operationState"]
    assert (world.release(), state["message"]) == (OLD, f"the PVC {SPACE}/data is not there or not bound")


async def test_the_next_upgrade_takes_another_and_the_former_one_goes_with_its_files(world: World) -> None:
    await world.installed()
    world.start()
    world.apply(rev=8, release=NEW, snapshot=KEPT)
    await until(lambda: world.release() == NEW)
    former = world.copy()
    world.apply(rev=9, release="2026.12.2", snapshot={"release": NEW, "rev": 9})
    await until(lambda: world.taken() == [f"data-{NEW}-9"] and not former.exists())
    assert (world.copy() / "memory.md").exists()


async def test_a_render_that_lacks_it_deletes_nothing(world: World) -> None:
    await world.installed()
    world.start()
    world.apply(rev=8, release=NEW, snapshot=KEPT)
    await until(lambda: world.release() == NEW)
    world.apply(rev=9, release=OLD)
    await until(lambda: world.phase() == "Failed")
    assert (world.release(), world.taken(), (world.copy() / "memory.md").exists()) == (OLD, [NAME], True)


SECOND = {"rev": 9, "snapshot": KEPT}


async def upgraded(world: World) -> None:
    """The box is on the new release, with a snapshot of what the old one left, and has written since."""
    await world.installed()
    world.start()
    world.apply(rev=8, release=NEW, snapshot=KEPT)
    await until(lambda: world.release() == NEW)
    (world.data / "memory.md").write_text("migrated")


def phase(world: World, name: str) -> str:
    """How far a claim is."""
    return str((world.store.get(PVC, SPACE, name) or {}).get("status", {}).get("phase"))


def claims(world: World) -> list[str]:
    return [obj["metadata"]["name"] for obj in world.store.list(PVC, SPACE)]


async def test_a_claim_made_from_it_has_its_files_before_it_is_bound_and_leaves_the_other_alone(world: World) -> None:
    await upgraded(world)
    world.apply(rev=9, release=OLD, snapshot=KEPT, volumes={"used": SECOND, "kept": {"rev": 0}})
    await until(lambda: phase(world, "data-9") == "Bound")
    assert (world.data.parent / "data-9/memory.md").read_text() == "her name is Ana"
    assert (world.data / "memory.md").read_text() == "migrated"
    claim = world.store.get(PVC, SPACE, "data-9") or {}
    assert claim["status"]["capacity"] == {"storage": "10Gi"}


async def test_a_claim_waits_for_a_snapshot_that_is_still_taken(world: World) -> None:
    await world.installed()
    other = dict(boxes.one(boxes.render(boxes.values(volumes={"used": SECOND})), "PersistentVolumeClaim"))
    world.start()
    world.store.create(other)
    await until(lambda: "data-9" in claims(world))
    assert phase(world, "data-9") == "None"
    world.apply(rev=8, release=NEW, snapshot=KEPT)
    await until(lambda: phase(world, "data-9") == "Bound")
    assert (world.data.parent / "data-9/memory.md").read_text() == "her name is Ana"


async def test_what_is_not_rendered_any_more_stays_unless_it_was_given_up(world: World) -> None:
    await upgraded(world)
    restored = {"used": SECOND, "kept": {"rev": 0}}
    world.apply(rev=9, release=OLD, snapshot=KEPT, volumes=restored)
    await until(lambda: phase(world, "data-9") == "Bound")
    world.apply(rev=10, release=NEW, snapshot=KEPT)  # a revert that nobody has confirmed yet
    await until(lambda: world.release() == NEW and world.phase() == "Succeeded")
    assert claims(world) == ["data", "data-9"]
    world.apply(rev=11, release=OLD, snapshot=KEPT, volumes=restored)
    await until(lambda: world.release() == OLD and world.phase() == "Succeeded")
    world.apply(rev=12, release=OLD, snapshot=KEPT, volumes={"used": SECOND})  # somebody left it out
    await until(lambda: world.phase() == "Failed")
    assert claims(world) == ["data", "data-9"]
    world.apply(rev=13, release=OLD, snapshot=KEPT, volumes={"used": SECOND, "given_up": 0})
    await until(lambda: claims(world) == ["data-9"])


@pytest.mark.parametrize(
    ("marks", "labels", "allowed"),
    [
        ({}, {SNAPSHOT_REV: "6"}, False),
        ({SNAPSHOT_REV: "6"}, {SNAPSHOT_REV: "6"}, False),
        ({SNAPSHOT_REV: "10"}, {SNAPSHOT_REV: "9"}, True),
        ({SNAPSHOT_REV: "10"}, {}, False),
        ({APPROVED: "true"}, {SNAPSHOT_REV: "6"}, True),
    ],
)
def test_it_goes_as_the_cells_admission_rule_says(
    tmp_path: Path, marks: dict[str, str], labels: dict[str, str], allowed: bool
) -> None:
    store = Store(tmp_path / "objects.sqlite")
    store.create(objects.namespace("box-1", labels={"openclaw.cloud/box": "1"}, annotations=marks))
    meta = {"name": "one", "namespace": "box-1", "labels": labels}
    store.create({"apiVersion": VOLUME_SNAPSHOT.api_version, "kind": "VolumeSnapshot", "metadata": meta, "spec": {}})
    if allowed:
        assert store.delete(VOLUME_SNAPSHOT, "box-1", "one")
    else:
        with pytest.raises(Interlocked):
            store.delete(VOLUME_SNAPSHOT, "box-1", "one")


def _link(folder: Path) -> None:
    (folder / "here").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda folder: (folder / "deep/er").mkdir(parents=True), ["deep"]),
        (_link, ["here"]),
        (lambda folder: os.mkfifo(folder / "pipe"), []),
        (lambda folder: (folder / "shut").mkdir(mode=0o500), ["shut"]),
    ],
    ids=["folders", "a link to nowhere", "a pipe", "a read-only folder"],
)
def test_a_copy_is_of_the_data_alone(tmp_path: Path, make: Callable[[Path], object], found: list[str]) -> None:
    (source := tmp_path / "one").mkdir()
    make(source)
    snapshots.copy(source, tmp_path / "two")
    assert os.listdir(tmp_path / "two") == found
