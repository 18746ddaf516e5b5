"""The snapshot of a box's volume: taken before its release changes, and none where none is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from controller.domain.states import State
from controller.gitops import policy, rendering
from controller.gitops.chart import CellValues
from controller.gitops.objects import Box
from tests.charts.boxes import CELL, ID, Object, one, render, values

KEPT = {"release": "2026.11.1", "rev": 6}
ABLE = {"snapshot_class": "fast"}
MARK = "openclaw.cloud/snapshot-rev"


def upgraded(**spec: Any) -> list[Object]:
    return render(values(cell=ABLE, **{"snapshot": KEPT, "release": "2026.12.1", **spec}))


def test_it_is_of_the_volume_and_named_by_the_former_release_and_the_rev() -> None:
    made = one(upgraded(), "VolumeSnapshot")
    assert made["metadata"]["name"] == "data-2026.11.1-6"
    assert made["spec"] == {"volumeSnapshotClassName": "fast", "source": {"persistentVolumeClaimName": "data"}}


def test_it_is_ready_before_the_deployment_changes() -> None:
    assert one(upgraded(), "VolumeSnapshot")["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] == "-1"


def test_a_box_that_was_upgraded_again_keeps_the_later_one_alone_and_its_namespace_says_so() -> None:
    objects = upgraded(snapshot={"release": "2026.12.1", "rev": 9}, release="2026.12.2")
    made = one(objects, "VolumeSnapshot")
    assert (made["metadata"]["name"], made["metadata"]["labels"][MARK]) == ("data-2026.12.1-9", "9")
    assert one(objects, "Namespace")["metadata"]["annotations"][MARK] == "9"


@pytest.mark.parametrize(
    "given",
    [
        values(cell=ABLE),
        values(snapshot=KEPT),
        values(cell={"snapshot_class": None}, snapshot=KEPT),
        values(cell=ABLE, snapshot=KEPT, state="destroyed"),
    ],
    ids=["a box that was never upgraded", "a cell without a class", "a class that is null", "a destroyed box"],
)
def test_none_is_made_for(given: Object) -> None:
    assert "VolumeSnapshot" not in {item["kind"] for item in render(given)}


@pytest.mark.parametrize("state", ["standby", "active", "suspended", "condemned"])
def test_it_keeps_every_rule_in_every_state(state: str) -> None:
    given = values(cell=ABLE, snapshot=KEPT, state=state)
    assert rendering.judge(upgraded(state=state), given, CellValues.model_validate({**CELL, **ABLE})) == []


@pytest.mark.parametrize(("volume", "claim"), [(0, "data"), (4, "data-4")])
def test_it_is_of_the_volume_that_was_in_use_also_once_another_is(volume: int, claim: str) -> None:
    made = one(upgraded(snapshot={**KEPT, "volume": volume}), "VolumeSnapshot")
    assert made["spec"]["source"] == {"persistentVolumeClaimName": claim}


def test_it_does_not_change_the_pod() -> None:
    assert one(upgraded(), "Deployment") == one(render(values(release="2026.12.1")), "Deployment")


@pytest.mark.parametrize("change", [{"source": {"volumeSnapshotContentName": "another-boxs"}}, {"source": {}}])
def test_one_of_anything_else_breaks_the_rule(change: Object) -> None:
    objects = upgraded()
    one(objects, "VolumeSnapshot")["spec"].update(change)
    found = policy.check(objects, Box(ID, State.ACTIVE, "openclaw-cloud"))
    assert {breach.rule for breach in found} == {"snapshot"}
