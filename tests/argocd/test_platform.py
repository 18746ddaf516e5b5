"""The Applications of a cluster that runs the platform: what they install, in which order, and from where."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import helm_python
import jsonschema
import pytest
import yaml

from controller.gitops.chart import CellValues
from tests.argocd import cells
from tests.argocd.cells import ROOT, Object
from tests.charts import deployments
from tests.charts.test_platform_migration import wave
from tests.charts.test_platform_tls import PLATFORMS

ENVIRONMENTS = tuple(sorted(path.stem for path in (ROOT / "platforms").glob("*.yaml")))
SCHEMAS = json.loads((Path(__file__).parent / "platform.schema.json").read_text())
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "ClusterSecretStore", "Namespace"}
CLUSTER_WIDE |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
DIFFER = {"cell", "environment", "charts.url", "git.url", "platform.value_files"}


def values(environment: str) -> Object:
    found: Object = yaml.safe_load((ROOT / "platforms" / f"{environment}.yaml").read_text())
    return found


def render(given: Object) -> list[Object]:
    with helm_python.Chart.load(ROOT / "platform") as chart:
        files = chart.render(given, name="platform-apps", namespace="argocd")
    return [found for text in files.values() for found in yaml.safe_load_all(text) if found]


@functools.cache
def rendered(environment: str) -> dict[str, Object]:
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in render(values(environment))}


def application(name: str, environment: str = "eu1") -> Object:
    found: Object = rendered(environment)[f"Application/{name}"]["spec"]
    return found


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_object_has_the_form_that_its_kind_asks_for(environment: str) -> None:
    for item in rendered(environment).values():
        jsonschema.validate(item, {"$ref": f"#/$defs/{item['kind']}", "$defs": SCHEMAS["$defs"]})


def test_the_cell_comes_before_the_platform_and_the_project_before_both() -> None:
    order = [
        wave(rendered("eu1")[name]) for name in ("AppProject/platform", "Application/cell", "Application/platform")
    ]
    assert order == [-1, 0, 1]


def kinds(objects: list[Object]) -> set[tuple[str, str]]:
    return {(group(one), one["kind"]) for one in objects}


def group(item: Object) -> str:
    return str(item["apiVersion"]).rpartition("/")[0]


def test_the_project_lets_in_just_the_kinds_that_the_charts_have() -> None:
    made = {("", "Namespace")} | kinds(list(rendered("eu1").values()))
    for environment in deployments.ENVIRONMENTS:
        made |= kinds(deployments.rendered(environment))
    made |= kinds(deployments.changed(monitoring={}))
    for cell in cells.CELLS:
        made |= kinds(cells.render(cells.values(cell)))
    spec = rendered("eu1")["AppProject/platform"]["spec"]
    wide, narrow = (
        {(one["group"], one["kind"]) for one in spec[f"{scope}ResourceWhitelist"]} for scope in ("cluster", "namespace")
    )
    assert wide == {one for one in made if one[1] in CLUSTER_WIDE}
    assert narrow == {one for one in made if one[1] not in CLUSTER_WIDE}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_source_and_namespace_is_the_projects(environment: str) -> None:
    spec = rendered(environment)["AppProject/platform"]["spec"]
    for name in ("platform-apps", "cell", "platform"):
        one = application(name, environment)
        assert {source["repoURL"] for source in one.get("sources", [one.get("source")])} <= set(spec["sourceRepos"])
        assert one["destination"] in spec["destinations"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_charts_are_pinned_to_the_versions_of_this_tree(environment: str) -> None:
    pinned = {
        source["chart"]: source["targetRevision"]
        for source in [application("cell", environment)["sources"][0], application("platform", environment)["source"]]
    }
    folders = {"cell": ROOT / "cell", "platform": deployments.CHART}
    assert pinned == {name: yaml.safe_load((at / "Chart.yaml").read_text())["version"] for name, at in folders.items()}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_file_of_values_that_is_named_exists(environment: str) -> None:
    platform = application("platform", environment)["source"]["helm"]["valueFiles"]
    assert all((deployments.CHART / name).is_file() for name in platform)
    (cell,) = application("cell", environment)["sources"][0]["helm"]["valueFiles"]
    assert (ROOT.parent / cell.removeprefix("$values/")).is_file()
    (own,) = application("platform-apps", environment)["source"]["helm"]["valueFiles"]
    assert (ROOT / "platform" / own).resolve() == ROOT / "platforms" / f"{environment}.yaml"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environments_platform_is_told_the_cell_beside_it(environment: str) -> None:
    cell = values(environment)["cell"]
    rendering = PLATFORMS[cell]
    env = deployments.of("Deployment", "api", rendering)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {one["name"]: one.get("value") for one in env}["CELL"] == cell == cells.values(cell)["cell"]["name"]
    named = application("platform", environment)["source"]["helm"]["valueFiles"]
    assert bool(named) is (rendering == "dev")


def test_boxes_look_for_the_platform_where_it_is() -> None:
    namespace = application("platform")["destination"]["namespace"]
    assert namespace == CellValues.model_fields["platform_namespace"].default


def test_the_platforms_namespace_lets_in_no_pod_that_is_not_confined() -> None:
    labels = application("platform")["syncPolicy"]["managedNamespaceMetadata"]["labels"]
    modes = {mode: labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")}
    assert modes == dict.fromkeys(modes, "restricted")
    assert labels["pod-security.kubernetes.io/enforce-version"] == "v1.37"


def test_an_absence_deletes_nothing_but_what_a_release_of_the_platform_leaves_out() -> None:
    assert all("finalizers" not in item["metadata"] for item in rendered("eu1").values())
    pruned = {
        name: application(name)["syncPolicy"]["automated"]["prune"] for name in ("platform-apps", "cell", "platform")
    }
    assert pruned == {"platform-apps": False, "cell": False, "platform": True}
    assert "PruneLast=true" in application("platform")["syncPolicy"]["syncOptions"]


def test_only_what_has_to_differ_differs_between_environments() -> None:
    one, other = (leaves(values(name)) for name in ("eu1", "local"))
    assert {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)} <= DIFFER


def leaves(node: Object, *path: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in node.items():
        found |= leaves(value, *path, name) if isinstance(value, dict) else {".".join([*path, name]): value}
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"cell": "Eu1"},
        {"git": {"url": "https://user:password@git.example/x.git"}},
        {"charts": {"url": "https://charts.example", "cell": "1.x", "platform": "2026.11.1"}},
        {"platform": {"value_files": ["../../secrets.yaml"]}},
    ],
    ids=str,
)
def test_values_that_make_no_platform_are_refused(change: Object) -> None:
    with pytest.raises(helm_python.HelmError):
        render(values("eu1") | change)
