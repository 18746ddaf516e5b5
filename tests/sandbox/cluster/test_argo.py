"""Argo's loops over a store of their own, without a kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.core import ids
from controller.gitops import manifests
from controller.sandbox.cluster import cell_chart, differences
from controller.sandbox.cluster.admission import APPROVED
from controller.sandbox.cluster.argo_sets import ARGO, Sets
from controller.sandbox.cluster.argo_sync import EMPTY, Sync
from controller.sandbox.cluster.checkout import Checkout
from controller.sandbox.cluster.render import Chart
from controller.sandbox.cluster.resources import APPLICATION, APPLICATION_SET, CONFIG_MAP, DEPLOYMENT, NAMESPACE, Object
from controller.sandbox.cluster.store import Store
from tests.gitops import remotes
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.running import CELL, CELL_VALUES, HERE, box
from tests.sandbox.cluster.waiting import end, until


class Argo:
    """A remote, and a store that follows it by polling alone."""

    def __init__(self, folder: Path) -> None:
        self.remote, self.store = remotes.create(folder / "git"), Store(folder / "objects.sqlite")
        checkout = Checkout(str(self.remote), folder / "clone.git")
        made = cell_chart.objects(cell_chart.values(CELL_VALUES, str(self.remote), "http://secrets.test", 0.2))
        sets = [one for one in made if one["kind"] == "ApplicationSet"]
        self.sets = Sets(self.store, checkout, CELL_VALUES, sets, poll_seconds=0.2)
        self.sync = Sync(self.store, Chart(HERE / "chart"), first_retry_seconds=0.02)
        self.loops = [asyncio.create_task(loop()) for loop in (self.sets.run, self.sync.run)]

    async def follow_no_more(self) -> None:
        """From now on the test alone writes Applications: a look at Git that had begun is over."""
        followed = self.loops.pop(0)
        followed.cancel()
        await asyncio.wait([followed])

    def commit(self, box_id: str, content: bytes) -> None:
        """Commit the box's file."""
        remotes.commit(self.remote, {manifests.path(CELL, box_id): content}, "change")

    def application(self, box_id: str) -> Any:
        """The box's Application, empty before there is one."""
        return self.store.get(APPLICATION, ARGO, box_id) or {}

    def operation(self, box_id: str) -> Any:
        """The state of its last operation."""
        return self.application(box_id).get("status", {}).get("operationState", {})

    async def synced(self, box_id: str, rev: int = 1) -> None:
        """Wait until the box's objects are live."""
        await until(lambda: self._synced(self.application(box_id), rev))

    def _synced(self, found: Any, rev: int) -> bool:
        sync = found.get("status", {}).get("sync", {})
        source = sync.get("comparedTo", {}).get("source")
        done = source and source["helm"]["valuesObject"]["spec"]["rev"] >= rev and sync["status"] == "Synced"
        return bool(done and "operation" not in found)


@pytest.fixture
async def argo(tmp_path: Path) -> AsyncIterator[Argo]:
    made = Argo(tmp_path)
    yield made
    await end(made.loops)
    made.store.close()


async def test_polling_alone_finds_a_commit(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id))
    await argo.synced(box_id)
    assert argo.application(box_id)["metadata"]["annotations"] == {"openclaw.cloud/rev": "1"}
    assert argo.application(box_id)["spec"]["source"]["helm"]["valuesObject"]["cell"] == CELL_VALUES


@pytest.mark.parametrize(
    ("text", "read"),
    [("no", False), ("1e3", 1000.0), ("2026-11-01", "2026-11-01"), ("012", 10), ('"no"', "no"), ("12345678", 12345678)],
)
async def test_files_are_read_as_yaml_1_1(argo: Argo, text: str, read: object) -> None:
    head = "apiVersion: v1\nkind: Box\nspec: {rev: 1, state: suspended, release: 2026.11.1}\n"
    box_id = ids.new()
    argo.commit(box_id, f"{head}metadata: {{id: {box_id}}}\noverrides: {{value: {text}}}\n".encode())
    await until(lambda: argo.application(box_id))
    assert argo.application(box_id)["spec"]["source"]["helm"]["valuesObject"]["overrides"]["value"] == read


@pytest.mark.parametrize(
    "content",
    [
        b"spec: [",
        b"- a",
        b"\xff\xfe\x00",
        b"",
        b"a: &a [*a]\n",
        box("../../etc"),
        box("x", rev=-1),
        b'{"metadata": {"id": "x"}}',
    ],
)
async def test_no_content_of_a_file_ends_the_loop(argo: Argo, content: bytes) -> None:
    argo.commit(bad := ids.new(), content)
    name = manifests.application_set(bad)
    await until(lambda: condition(argo, name).get("status") == "True")
    assert bad in condition(argo, name)["message"]


def condition(argo: Argo, name: str) -> Any:
    found = next((one for one in argo.store.list(APPLICATION_SET) if one["metadata"]["name"] == name), {})
    return found.get("status", {}).get("conditions", [{}])[0]


async def test_a_refused_sync_is_tried_four_times_and_its_reason_stays(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id, state="suspended"))
    await argo.synced(box_id)
    argo.commit(box_id, box(box_id, state="destroyed", rev=2))
    await until(lambda: argo.operation(box_id).get("phase") == "Failed")
    assert argo.operation(box_id)["retryCount"] == 3
    await until(lambda: "operation" not in argo.application(box_id))
    [error] = argo.application(box_id)["status"]["conditions"]
    assert (error["type"], "deletion_not_approved" in error["message"]) == ("SyncError", True)
    assert argo.store.get(NAMESPACE, None, f"box-{box_id}") is not None


async def test_a_new_rev_starts_anew_after_the_retries_are_used_up(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id, state="suspended"))
    await argo.synced(box_id)
    argo.commit(box_id, box(box_id, state="destroyed", rev=2))
    await until(lambda: argo.operation(box_id).get("phase") == "Failed")
    argo.commit(box_id, box(box_id, state="suspended", rev=3))
    await argo.synced(box_id, 3)
    assert argo.operation(box_id)["phase"] == "Succeeded"
    assert argo.application(box_id)["status"]["conditions"] == []


async def test_what_was_given_up_is_carried_out_when_it_is_asked_for_again(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id, state="suspended"))
    await argo.synced(box_id)
    argo.commit(box_id, box(box_id, state="destroyed", rev=2))
    await until(lambda: argo.operation(box_id).get("phase") == "Failed" and "operation" not in argo.application(box_id))
    space = argo.store.get(NAMESPACE, None, f"box-{box_id}")
    assert space is not None
    space["metadata"]["annotations"][APPROVED] = "true"
    argo.store.update(space)
    ended = argo.application(box_id)["status"]["operationState"]["operation"]
    assert ended["sync"]["source"] == argo.application(box_id)["spec"]["source"]
    argo.store.update({**argo.application(box_id), "operation": ended})
    await argo.synced(box_id, 2)
    assert argo.operation(box_id)["phase"] == "Succeeded"


async def test_a_settled_box_causes_no_more_writes(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id, state="suspended"))
    await argo.synced(box_id)
    before, consumed = argo.application(box_id), argo.store.version
    argo.commit(other := ids.new(), box(other, state="suspended"))
    await argo.synced(other)
    assert argo.store.version > consumed
    assert argo.application(box_id) == before


async def test_an_operation_that_a_killed_controller_left_is_finished(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id, state="suspended"))
    await argo.synced(box_id)
    argo.store.update({**argo.application(box_id), "operation": {"sync": {}}})
    await until(lambda: "operation" not in argo.application(box_id))
    assert argo.operation(box_id)["phase"] == "Succeeded"


async def test_an_operation_that_nothing_will_finish_is_ended_as_failed(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id, state="suspended"))
    await argo.synced(box_id)
    await argo.follow_no_more()
    made = argo.application(box_id)
    made["spec"]["source"]["helm"]["valuesObject"]["spec"]["state"] = "destroyed"
    argo.store.update({**made, "operation": {"sync": {}}})
    await until(lambda: argo.operation(box_id).get("phase") == "Failed")
    assert "operation" not in argo.application(box_id)


@pytest.mark.parametrize("spec", [{}, {"source": None}, {"source": {"targetRevision": "2026.11.1"}}, {"source": []}])
async def test_an_application_that_makes_no_sense_says_so_and_stops_no_other(argo: Argo, spec: Object) -> None:
    await until(lambda: argo.store.get(NAMESPACE, None, ARGO))
    argo.store.create({**objects.application("odd", ARGO), "spec": spec})
    argo.commit(box_id := ids.new(), box(box_id, state="suspended"))
    await argo.synced(box_id)
    assert argo.application("odd")["status"]["conditions"][0]["type"] == "ComparisonError"


async def test_without_an_automated_policy_a_sync_happens_only_when_asked_for(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id, state="suspended"))
    await argo.synced(box_id)
    await argo.follow_no_more()
    made = argo.application(box_id)
    made["spec"]["syncPolicy"] = {}
    made["spec"]["source"]["helm"]["valuesObject"]["spec"]["rev"] = 2
    argo.store.update(made)
    await until(lambda: argo.application(box_id)["status"]["sync"]["status"] == "OutOfSync")
    argo.store.update({**argo.application(box_id), "operation": {"sync": {}}})
    await argo.synced(box_id, 2)


async def test_an_empty_render_is_refused_unless_it_is_allowed(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id, state="suspended", approved=True))
    await argo.synced(box_id)
    made = argo.application("copy") or argo.application(box_id)
    await argo.follow_no_more()
    made["spec"]["source"]["helm"]["valuesObject"]["spec"]["state"] = "destroyed"
    argo.store.update(made)
    await until(lambda: EMPTY in str(argo.application(box_id)["status"]["conditions"]))
    assert argo.store.get(NAMESPACE, None, f"box-{box_id}") is not None


def live(**spec: object) -> Object:
    meta = {"name": "agent", "namespace": "here", "annotations": {"mine": "1"}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 1, **spec}}


def test_an_apply_drops_what_it_set_before_and_keeps_what_others_set() -> None:
    first = differences.fresh(live(paused=True))
    first["metadata"]["annotations"]["theirs"] = "2"
    again = live()
    again["metadata"]["annotations"] = {}
    second = differences.applied(first, again)
    assert "paused" not in second["spec"]
    assert second["metadata"]["annotations"] == {"theirs": "2"}


def test_applying_the_same_twice_changes_nothing() -> None:
    once = differences.fresh(live(template={"spec": {"containers": [{"name": "a"}]}}))
    assert differences.applied(once, live(template={"spec": {"containers": [{"name": "a"}]}})) == once


def test_a_prune_spares_what_says_so_and_what_is_going_already(tmp_path: Path) -> None:
    kept, going, plain = ({"metadata": dict[str, Any](name=name)} for name in ("kept", "going", "plain"))
    kept["metadata"]["annotations"] = {differences.OPTIONS: "Prune=false"}
    going["metadata"]["deletionTimestamp"] = "2026-11-01T00:00:00Z"
    assert differences.Differences([], [kept, going, plain]).prunes == [plain]


async def test_objects_come_in_wave_order_namespace_first(argo: Argo) -> None:
    changes = argo.store.watch(NAMESPACE, CONFIG_MAP, DEPLOYMENT)
    seen: list[str] = []
    argo.commit(box_id := ids.new(), box(box_id, state="suspended"))
    async for event in changes:
        if event.type == "ADDED" and box_id in str(event.object["metadata"]):
            seen.append(event.kind.kind)
        if event.kind == DEPLOYMENT:
            break
    assert seen == ["Namespace", "ConfigMap", "Deployment"]


SKIP = "argocd.argoproj.io/skip-reconcile"


def annotate(argo: Argo, box_id: str, **annotations: str | None) -> None:
    found = argo.application(box_id)
    kept = {**found["metadata"]["annotations"], **annotations}
    meta = {**found["metadata"], "annotations": {name: value for name, value in kept.items() if value is not None}}
    argo.store.update({**found, "metadata": meta})


def replicas(argo: Argo, box_id: str, wanted: int | None = None) -> int:
    found = argo.store.get(DEPLOYMENT, f"box-{box_id}", "agent")
    assert found is not None
    if wanted is not None:
        argo.store.update({**found, "spec": {**found["spec"], "replicas": wanted}})
    return int(found["spec"]["replicas"])


async def its_turn_is_over(argo: Argo) -> None:
    """Whatever was begun or asked for before is done: Applications are reconciled one after the other."""
    argo.commit(other := ids.new(), box(other))
    await argo.synced(other)


async def test_an_application_that_is_to_be_skipped_is_not_healed_until_it_no_longer_is(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id))
    await argo.synced(box_id)
    annotate(argo, box_id, **{SKIP: "true"})
    await its_turn_is_over(argo)
    replicas(argo, box_id, 0)
    await its_turn_is_over(argo)
    assert (replicas(argo, box_id), argo.application(box_id)["status"]["sync"]["status"]) == (0, "Synced")
    annotate(argo, box_id, **{SKIP: None})
    await until(lambda: replicas(argo, box_id) == 1)


async def test_a_set_keeps_the_annotations_that_it_names_and_takes_others_away(argo: Argo) -> None:
    argo.commit(box_id := ids.new(), box(box_id))
    await argo.synced(box_id)
    annotate(argo, box_id, **{SKIP: "true", "somebody.example/note": "x"})
    argo.commit(box_id, box(box_id, rev=2))
    await until(lambda: argo.application(box_id)["metadata"]["annotations"]["openclaw.cloud/rev"] == "2")
    assert argo.application(box_id)["metadata"]["annotations"] == {"openclaw.cloud/rev": "2", SKIP: "true"}
