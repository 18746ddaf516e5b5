"""What the chart of a cell renders, in form and against the box chart and the stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import pytest

from controller.core import ids
from controller.domain.states import State
from controller.gitops import manifests
from controller.gitops.chart import CellValues
from controller.sandbox.cluster import cell_chart
from controller.sandbox.cluster.argo_sets import Sets, _parse
from controller.sandbox.cluster.checkout import Checkout
from controller.sandbox.cluster.store import Store
from tests.argocd.cells import CELLS, ROOT, Object, generate, of, render, rendered, values
from tests.charts import boxes

SCHEMAS = json.loads((Path(__file__).parent / "crds.schema.json").read_text())
DIFFER = {
    "cell.api_url", "cell.exec", "cell.image", "cell.name", "cell.proxy_url", "cell.runtime_class",
    "cell.snapshot_class", "cell.storage_class", "cell.telegram_api_url", "charts.url", "git.url", "poll_seconds",
    "registry", "secrets.ca", "secrets.url",
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_every_object_has_the_form_that_its_kind_asks_for(cell: str) -> None:
    for item in json.loads(rendered(cell)):
        if item["kind"] in SCHEMAS["$defs"]:
            jsonschema.validate(item, {"$ref": f"#/$defs/{item['kind']}", "$defs": SCHEMAS["$defs"]})
        else:
            kubernetes_validate.validate(item, "1.37", strict=True)


def leaves(node: Object, *path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in node.items():
        deep = isinstance(value, dict) and name != "ca"
        found |= leaves(value, *path, name) if deep else {".".join([*path, name]): value}
    return found


def test_only_what_has_to_differ_differs_from_cell_to_cell() -> None:
    local, production = leaves(values("local")), leaves(values("eu1-a"))
    names = local.keys() | production.keys()
    assert {name for name in names if local.get(name) != production.get(name)} <= DIFFER


def test_the_charts_schema_of_a_cell_is_the_box_charts() -> None:
    schema = json.loads((ROOT / "cell/values.schema.json").read_text())
    assert schema["$defs"]["CellValues"] == CellValues.model_json_schema()


@pytest.mark.parametrize(
    "change",
    [
        {"poll_second": 3},
        {"poll_seconds": 0},
        {"git": {"url": "https://user:password@git.example/x.git"}},
        {"registry": "elsewhere.example"},
        {"cell": {"name": "eu1-a"}},
        {"cluster": "{{ .name }}"},
    ],
    ids=str,
)
def test_values_that_make_no_cell_are_refused(change: Object) -> None:
    with pytest.raises(helm_python.HelmError):
        render(values() | change)


def test_the_project_lets_a_box_have_just_the_kinds_that_its_chart_has() -> None:
    [project] = of("AppProject")
    spec = project["spec"]
    allowed = {(one["group"], one["kind"]) for one in spec["namespaceResourceWhitelist"]}
    upgraded: Object = {"cell": {"snapshot_class": "fast"}, "snapshot": {"release": "2026.11.1", "rev": 2}}
    rendered = [item for state in State for item in boxes.render(boxes.values(state=state.value, **upgraded))]
    made = {(group(item), item["kind"]) for item in rendered}
    assert made - allowed == {("", "Namespace")}
    assert allowed <= made
    assert spec["clusterResourceWhitelist"] == [{"group": "", "kind": "Namespace", "name": "box-*"}]


def group(item: Object) -> str:
    return str(item["apiVersion"]).rpartition("/")[0]


def test_each_box_file_is_in_the_set_that_the_writer_refreshes() -> None:
    sets = {one["metadata"]["name"]: one["spec"]["generators"][0]["git"]["files"] for one in of("ApplicationSet")}
    assert len(sets) == 16
    for box_id in [ids.new() for _ in range(100)]:
        path = manifests.path("eu1-a", box_id)
        [pattern] = [one["path"] for one in sets[manifests.application_set(box_id)]]
        assert Path(path).match(pattern)


@pytest.mark.parametrize("state", State)
def test_the_sets_template_makes_what_the_stand_in_applies(tmp_path: Path, state: State) -> None:
    cell = boxes.CELL
    made = cell_chart.objects(cell_chart.values(cell, "/git/gitops.git", "http://secrets.example", 180))
    sets = [one for one in made if one["kind"] == "ApplicationSet"]
    given = {key: value for key, value in boxes.values(state=state.value, rev=1_000_000).items() if key != "cell"}
    store = Store(tmp_path / "objects.sqlite")
    stand_in = Sets(store, Checkout("/git/gitops.git", tmp_path / "clone.git"), cell, sets, 180)
    applied = stand_in._application(_parse("box.yaml", json.dumps(given).encode()))
    store.close()
    del applied["apiVersion"], applied["kind"], applied["metadata"]["namespace"]
    assert generate(sets[-1], given, tmp_path / "chart") == applied


def test_all_sets_are_alike_but_for_their_digit() -> None:
    texts = {json.dumps(one).replace(one["metadata"]["name"], "boxes-?") for one in of("ApplicationSet")}
    specs = {json.dumps([one["spec"]["template"], one["spec"]["templatePatch"]]) for one in of("ApplicationSet")}
    assert (len(texts), len(specs)) == (16, 1)
