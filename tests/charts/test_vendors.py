"""``charts/vendors``: the outside world of a developer's cluster, where everybody there looks for it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import helm_python
import kubernetes_validate
import pytest
import yaml

from tests.argocd import cells
from tests.charts import boxes, deployments
from tests.charts.deployments import Object
from tests.charts.test_platform_hardening import CONTAINER_RULES, POD_RULES

ROOT = deployments.CHART.parents[1]
CHART = ROOT / "charts/vendors"
SPACE = "openclaw-cloud"


def render(given: Object) -> list[Object]:
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(given, name="vendors", namespace=SPACE)
    return [found for text in files.values() for found in yaml.safe_load_all(text) if found]


@functools.cache
def _rendered() -> str:
    return json.dumps(render({}))


def of(kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in json.loads(_rendered()) if one["kind"] == kind}


def pods() -> dict[str, Object]:
    return {name: one["spec"]["template"]["spec"] for name, one in of("Deployment").items()}


def test_kubernetes_schemas_accept_every_object() -> None:
    for item in json.loads(_rendered()):
        kubernetes_validate.validate(item, "1.37", strict=True)


@pytest.mark.parametrize("rule", POD_RULES)
def test_every_pod_keeps_the_platforms_rule(rule: str) -> None:
    assert [name for name, pod in pods().items() if not POD_RULES[rule](pod)] == []


@pytest.mark.parametrize("rule", CONTAINER_RULES)
def test_every_container_keeps_the_platforms_rule(rule: str) -> None:
    assert [name for name, pod in pods().items() if not CONTAINER_RULES[rule](pod["containers"][0])] == []


def test_its_names_are_not_the_platforms() -> None:
    ours = {(one["kind"], one["metadata"]["name"]) for one in deployments.rendered("dev")}
    assert not ours & {(one["kind"], one["metadata"]["name"]) for one in json.loads(_rendered())}


def urls(node: Any) -> Iterator[str]:
    if isinstance(node, dict | list):
        for one in node.values() if isinstance(node, dict) else node:
            yield from urls(one)
    elif isinstance(node, str):
        yield from re.findall(rf"[a-z]+://[^\s\"/]*\.{SPACE}:\d+", node)


def called() -> set[str]:
    told = [deployments.values("dev"), cells.values("local"), *deployments.rendered("dev")]
    told.append(yaml.safe_load((ROOT / "argocd/platforms/local.yaml").read_text()))
    return {f"{urlsplit(url).hostname}:{urlsplit(url).port}" for one in told for url in urls(one)}


def test_every_address_of_a_developers_cluster_is_somebodys() -> None:
    services = [one for one in deployments.rendered("dev") if one["kind"] == "Service"] + list(of("Service").values())
    there = {f"{one['metadata']['name']}.{SPACE}:{port['port']}" for one in services for port in one["spec"]["ports"]}
    assert len(called()) >= 7
    assert called() <= there


def node_ports(services: list[Object]) -> list[int]:
    return [port["nodePort"] for one in services for port in one["spec"]["ports"] if "nodePort" in port]


def test_the_ports_of_the_node_are_those_that_lead_in_and_each_is_used_once() -> None:
    used = node_ports([one for one in deployments.rendered("dev") if one["kind"] == "Service"])
    used += node_ports(list(of("Service").values()))
    (mapping,) = yaml.safe_load((ROOT / "argocd/k3d.yaml").read_text())["ports"]
    first, last = map(int, mapping["port"].split(":")[1].split("-"))
    assert sorted(used) == list(range(first, last + 1))


def test_stripes_links_lead_to_its_own_port_of_the_node() -> None:
    args = pods()["stripe"]["containers"][0]["args"]
    (port,) = of("Service")["stripe"]["spec"]["ports"]
    assert args[args.index("--public-url") + 1] == f"http://localhost:{port['nodePort']}"


def test_the_volumes_of_boxes_are_of_a_class_that_lets_them_grow() -> None:
    (name,) = of("StorageClass")
    assert cells.values("local")["cell"]["storage_class"] == name
    assert of("StorageClass")[name]["allowVolumeExpansion"] is True


@pytest.mark.parametrize(
    ("telegram", "reached"), [("http://telegram.openclaw-cloud:8000", True), ("https://api.telegram.org", False)]
)
def test_boxes_reach_a_telegram_in_the_cluster_and_only_if_their_cell_names_one(telegram: str, reached: bool) -> None:
    cell = boxes.values()["cell"] | {"telegram_api_url": telegram}
    policy = boxes.one(boxes.render(boxes.values() | {"cell": cell}), "NetworkPolicy", "egress-platform")
    names = {to["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for to in policy["spec"]["egress"][0]["to"]}
    assert ("telegram" in names) is reached
    assert "http" in {port["name"] for port in pods()["telegram"]["containers"][0]["ports"]}


@pytest.mark.parametrize(
    "change", [{"images": {"git": "soft-serve:v0"}}, {"colour": "red"}, {"node_ports": {"git": 22}}], ids=str
)
def test_values_that_make_no_vendors_are_refused(change: Object) -> None:
    with pytest.raises(helm_python.HelmError):
        render(change)
