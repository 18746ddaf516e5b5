"""What holds for every pod of the platform: one rule, one line of a table; and whom each of them may call."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

import pytest

from tests.charts import boxes
from tests.charts.deployments import ENVIRONMENTS, PROCESSES, Object, changed, of, pod, rendered

Rule = Callable[[Object], bool]
PODS = sorted(
    (environment, one["kind"], one["metadata"]["name"])
    for environment in ENVIRONMENTS
    for one in rendered(environment)
    if "template" in one.get("spec", {})
)

POD_RULES: dict[str, Rule] = {
    "no addresses of other services": lambda pod: pod["enableServiceLinks"] is False,
    "not root": lambda pod: pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0,
    "seccomp": lambda pod: pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"},
    "nothing of the host": lambda pod: not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
    "no directory of the host": lambda pod: not any("hostPath" in volume for volume in pod["volumes"]),
    "bounded scratch space": lambda pod: all(
        volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume
    ),
    "a token of the cluster by decision": lambda pod: isinstance(pod["automountServiceAccountToken"], bool),
    "an account of its own": lambda pod: pod["serviceAccountName"] not in ("", "default"),
}
CONTAINER_RULES: dict[str, Rule] = {
    "read-only root": lambda one: one["securityContext"]["readOnlyRootFilesystem"] is True,
    "no new privileges": lambda one: one["securityContext"]["allowPrivilegeEscalation"] is False,
    "no capability": lambda one: one["securityContext"]["capabilities"] == {"drop": ["ALL"]},
    "image by digest": lambda one: re.fullmatch(r".+@sha256:[0-9a-f]{64}", one["image"]) is not None,
    "limits for all": lambda one: set(one["resources"]["limits"]) == {"cpu", "memory", "ephemeral-storage"},
    "requests for all": lambda one: set(one["resources"]["requests"]) == {"cpu", "memory", "ephemeral-storage"},
    "no whole objects as environment": lambda one: "envFrom" not in one,
}


def spec(environment: str, kind: str, name: str) -> Object:
    found: Object = of(kind, name, environment)["spec"]["template"]["spec"]
    return found


def parts(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("rule", POD_RULES)
def test_every_pod_keeps_the_rule(rule: str) -> None:
    assert [one for one in PODS if not POD_RULES[rule](spec(*one))] == []


@pytest.mark.parametrize("rule", CONTAINER_RULES)
def test_every_container_keeps_the_rule(rule: str) -> None:
    broken = [one for one in PODS if not all(CONTAINER_RULES[rule](part) for part in parts(spec(*one)))]
    assert broken == []


@pytest.mark.parametrize(("environment", "kind", "name"), PODS)
def test_every_pod_has_a_fence_and_an_account(environment: str, kind: str, name: str) -> None:
    labels = of(kind, name, environment)["spec"]["template"]["metadata"]["labels"]
    fence = of("NetworkPolicy", name, environment)["spec"]
    assert fence["podSelector"]["matchLabels"].items() <= labels.items()
    assert fence["policyTypes"] == ["Ingress", "Egress"]
    assert of("ServiceAccount", name, environment)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("process", PROCESSES)
def test_the_metrics_of_every_process_can_be_read_by_monitoring(process: str) -> None:
    told = of("Deployment", process)["spec"]["template"]["metadata"]["annotations"]
    (port,) = pod(process)["containers"][0]["ports"]
    assert (told["prometheus.io/scrape"], told["prometheus.io/path"]) == ("true", "/metrics")
    assert told["prometheus.io/port"] == str(port["containerPort"])
    (rule,) = of("NetworkPolicy", process)["spec"]["ingress"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}} in rule["from"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port["name"]}]


def budgets() -> set[str]:
    return {one["metadata"]["name"] for one in rendered() if one["kind"] == "PodDisruptionBudget"}


def test_what_answers_calls_runs_twice_apart_and_is_never_emptied_at_once() -> None:
    assert budgets() == {"api", "secrets", "token-proxy"}
    for process in ("api", "proxy", "secrets"):
        assert of("PodDisruptionBudget", process)["spec"]["maxUnavailable"] == 1
        assert of("Deployment", process)["spec"]["strategy"]["type"] == "RollingUpdate"
        apart = {one["topologyKey"] for one in pod(process)["topologySpreadConstraints"]}
        assert apart == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def test_a_single_replica_keeps_no_node_from_being_emptied() -> None:
    made = changed(replicas={"api": 1, "proxy": 1, "secrets": 1})
    assert [one for one in made if one["kind"] == "PodDisruptionBudget"] == []


WEB = {"api", "notices", "proxy", "worker", "writer"}


def blocks(process: str) -> list[tuple[Object, list[int]]]:
    rules = of("NetworkPolicy", process)["spec"]["egress"]
    return [
        (peer["ipBlock"], [port["port"] for port in rule["ports"]])
        for rule in rules
        for peer in rule["to"]
        if "ipBlock" in peer
    ]


def internet(process: str) -> list[tuple[Object, list[int]]]:
    return [(block, ports) for block, ports in blocks(process) if ipaddress.ip_network(block["cidr"]).prefixlen < 8]


@pytest.mark.parametrize("process", PROCESSES)
def test_only_who_has_business_there_reaches_the_internet_and_never_a_private_range(process: str) -> None:
    found = internet(process)
    assert bool(found) is (process in WEB)
    closed = set(boxes_web()["except"])
    assert all(set(block["except"]) == closed for block, _ in found)


def boxes_web() -> Object:
    policy = boxes.one(boxes.render(boxes.values()), "NetworkPolicy", "egress-web")
    found: Object = policy["spec"]["egress"][0]["to"][0]["ipBlock"]
    return found


@pytest.mark.parametrize(
    ("process", "ports"),
    [
        ("api", {5432, 6379, 443}),
        ("meter", {5432, 6379}),
        ("notices", {5432, 6379, 443, 465, 587}),
        ("proxy", {5432, 6379, 443}),
        ("secrets", {5432}),
        ("sweeper", {5432, 6379}),
        ("watcher", {5432, 6379, 443, 6443}),
        ("worker", {5432, 6379, 443}),
        ("writer", {5432, 6379, 443, 6443}),
    ],
)
def test_each_process_calls_no_more_than_it_needs(process: str, ports: set[int]) -> None:
    assert {port for _, many in blocks(process) for port in many} == ports


def test_what_is_ours_is_called_at_its_own_address() -> None:
    wide = {(block["cidr"], port) for process in PROCESSES for block, ports in blocks(process) for port in ports}
    assert {port for cidr, port in wide if ipaddress.ip_network(cidr).prefixlen < 32} == {443, 465, 587}


def test_more_ranges_can_be_closed() -> None:
    made = changed(blocked_cidrs=["203.0.113.0/24"])
    (policy,) = [one for one in made if (one["kind"], one["metadata"]["name"]) == ("NetworkPolicy", "worker")]
    assert "203.0.113.0/24" in policy["spec"]["egress"][-1]["to"][0]["ipBlock"]["except"]
