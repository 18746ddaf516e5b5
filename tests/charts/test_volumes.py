"""A box's volumes: the one in use, made from a snapshot after a restore, and the one before it until it is given up."""

from __future__ import annotations

from typing import Any

import helm_python
import pytest

from controller.gitops import rendering
from controller.gitops.chart import CellValues
from controller.gitops.objects import of_kind
from tests.charts.boxes import CELL, Object, one, render, values

ABLE = {"snapshot_class": "fast"}
TAKEN = {"release": "2026.11.1", "rev": 6}
SECOND, FIRST = {"rev": 8, "snapshot": TAKEN}, {"rev": 0}
RESTORED = {"used": SECOND, "kept": FIRST}
OPTIONS, HEALTH = "argocd.argoproj.io/sync-options", "argocd.argoproj.io/ignore-healthcheck"
GIVEN_UP = "openclaw.cloud/volume-given-up"


def given(volumes: Object | None, **spec: Any) -> Object:
    return values(cell=ABLE, volumes=volumes, snapshot=TAKEN, **spec)


def claims(objects: list[Object]) -> dict[str, Object]:
    return {obj["metadata"]["name"]: obj for obj in of_kind(objects, "PersistentVolumeClaim")}


def mounted(objects: list[Object]) -> str:
    """The name of the claim that the pod has."""
    volume = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"][0]
    return str(volume["persistentVolumeClaim"]["claimName"])


@pytest.mark.parametrize(
    ("volumes", "names", "used"),
    [
        (None, {"data"}, "data"),
        (RESTORED, {"data", "data-8"}, "data-8"),
        ({"used": FIRST, "kept": SECOND}, {"data", "data-8"}, "data"),
        ({"used": SECOND, "given_up": 0}, {"data-8"}, "data-8"),
    ],
    ids=["the first", "restored", "gone back", "given up"],
)
def test_the_pod_has_the_one_in_use(volumes: Object | None, names: set[str], used: str) -> None:
    objects = render(given(volumes))
    assert (set(claims(objects)), mounted(objects)) == (names, used)


@pytest.mark.parametrize("volumes", [RESTORED, {"used": FIRST, "kept": SECOND}], ids=["restored", "gone back"])
def test_one_made_from_a_snapshot_names_it_as_long_as_it_is_there(volumes: Object) -> None:
    found = claims(render(given(volumes)))
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "data-2026.11.1-6"}
    assert (found["data-8"]["spec"]["dataSource"], "dataSource" in found["data"]["spec"]) == (source, False)


def test_it_is_the_snapshot_that_the_box_keeps() -> None:
    objects = render(given(RESTORED))
    taken = one(objects, "VolumeSnapshot")
    assert taken["metadata"]["name"] == claims(objects)["data-8"]["spec"]["dataSource"]["name"]


def test_no_render_that_lacks_the_one_in_use_deletes_it_and_the_kept_one_can_be_given_up() -> None:
    found = claims(render(given(RESTORED)))
    marks = {name: obj["metadata"]["annotations"] for name, obj in found.items()}
    assert marks == {"data-8": {OPTIONS: "Prune=false"}, "data": {HEALTH: "true"}}


def test_both_grow_with_the_box() -> None:
    found = claims(render(given(RESTORED, volume_gib=33)))
    assert [obj["spec"]["resources"]["requests"]["storage"] for obj in found.values()] == ["33Gi", "33Gi"]


@pytest.mark.parametrize(
    ("volumes", "name"),
    [
        (None, None),
        (RESTORED, None),
        ({"used": SECOND, "given_up": 0}, "data"),
        ({"used": FIRST, "given_up": 8}, "data-8"),
    ],
    ids=["the first", "restored", "the first given up", "another given up"],
)
def test_the_namespace_names_the_one_that_may_go(volumes: Object | None, name: str | None) -> None:
    assert one(render(given(volumes)), "Namespace")["metadata"]["annotations"].get(GIVEN_UP) == name


@pytest.mark.parametrize(
    "volumes", [{"used": FIRST, "given_up": 0}, {"used": SECOND, "kept": FIRST, "given_up": 0}], ids=["used", "kept"]
)
def test_what_was_given_up_is_never_made_anew(volumes: Object) -> None:
    with pytest.raises(helm_python.HelmError, match="volume 0 was given up"):
        render(given(volumes))


@pytest.mark.parametrize("state", ["active", "suspended", "condemned", "destroyed"])
@pytest.mark.parametrize("volumes", [RESTORED, {"used": SECOND, "given_up": 0}], ids=["kept", "given up"])
def test_a_restored_box_keeps_every_rule_in_every_state(state: str, volumes: Object) -> None:
    asked = given(volumes, state=state, volume_gib=1000)
    assert rendering.judge(render(asked), asked, CellValues.model_validate({**CELL, **ABLE})) == []
