"""The chart's promises about isolation: one rule, one line of a table."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

import pytest

from tests.charts.boxes import ID, Object, one, render, values

Rule = Callable[[Object], bool]

POD_RULES: dict[str, Rule] = {
    "no token of the cluster": lambda pod: pod["automountServiceAccountToken"] is False,
    "an account of its own": lambda pod: pod["serviceAccountName"] == "agent",
    "no addresses of other services": lambda pod: pod["enableServiceLinks"] is False,
    "not root": lambda pod: pod["securityContext"]["runAsNonRoot"] is True,
    "a fixed high user": lambda pod: (
        {pod["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {10001}
    ),
    "seccomp": lambda pod: pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"},
    "nothing of the host": lambda pod: not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
    "no shared processes": lambda pod: not pod.get("shareProcessNamespace"),
    "no directory of the host": lambda pod: not any("hostPath" in volume for volume in pod["volumes"]),
    "bounded scratch space": lambda pod: all(
        volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume
    ),
    "one container": lambda pod: len(pod["containers"]) == 1 and "initContainers" not in pod,
    "a chosen time to stop": lambda pod: pod["terminationGracePeriodSeconds"] == 45,
}
CONTAINER_RULES: dict[str, Rule] = {
    "read-only root": lambda box: box["securityContext"]["readOnlyRootFilesystem"] is True,
    "no new privileges": lambda box: box["securityContext"]["allowPrivilegeEscalation"] is False,
    "not privileged": lambda box: not box["securityContext"].get("privileged"),
    "no capability": lambda box: box["securityContext"]["capabilities"] == {"drop": ["ALL"]},
    "image by digest": lambda box: re.fullmatch(r".+@sha256:[0-9a-f]{64}", box["image"]) is not None,
    "limits for all": lambda box: set(box["resources"]["limits"]) == {"cpu", "memory", "ephemeral-storage"},
    "requests for all": lambda box: set(box["resources"]["requests"]) == {"cpu", "memory", "ephemeral-storage"},
    "no secret but its token": lambda box: (
        [entry["name"] for entry in box["env"] if "valueFrom" in entry] == ["OPENCLAW_AGENT_TOKEN"]
        and "envFrom" not in box
    ),
    "probed by health": lambda box: (
        [box[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
        == [{"path": path, "port": "gateway"} for path in ("/startupz", "/startupz", "/healthz")]
    ),
}


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return render(values())


@pytest.mark.parametrize("rule", POD_RULES)
def test_a_pod_keeps_the_rule(objects: list[Object], rule: str) -> None:
    assert POD_RULES[rule](one(objects, "Deployment")["spec"]["template"]["spec"])


@pytest.mark.parametrize("rule", CONTAINER_RULES)
def test_a_container_keeps_the_rule(objects: list[Object], rule: str) -> None:
    assert CONTAINER_RULES[rule](one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0])


@pytest.mark.parametrize("mode", ["enforce", "audit", "warn"])
def test_the_namespace_is_restricted_at_a_pinned_version(objects: list[Object], mode: str) -> None:
    labels = one(objects, "Namespace")["metadata"]["labels"]
    assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
    assert labels[f"pod-security.kubernetes.io/{mode}-version"] == "v1.37"
    assert labels["openclaw.cloud/box"] == ID
    assert labels["openclaw.cloud/cell"] == "eu1-a"


def test_two_pods_never_run_at_once(objects: list[Object]) -> None:
    assert one(objects, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert one(objects, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert one(objects, "ResourceQuota")["spec"]["hard"]["pods"] == "1"


def test_the_volume_is_never_pruned(objects: list[Object]) -> None:
    annotations = one(objects, "PersistentVolumeClaim")["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false"


@pytest.mark.parametrize("plan", ["starter", "pro", "team"])
def test_the_quota_has_room_for_the_pod_and_for_nothing_more(plan: str) -> None:
    found = render(values(plan=plan))
    hard = one(found, "ResourceQuota")["spec"]["hard"]
    asked = one(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]["resources"]
    for side in ("requests", "limits"):
        assert {key: hard[f"{side}.{key}"] for key in asked[side]} == asked[side]
    assert [hard[key] for key in ("services", "count/jobs.batch", "services.loadbalancers")] == ["0", "0", "0"]


def test_the_service_account_mounts_nothing(objects: list[Object]) -> None:
    assert one(objects, "ServiceAccount")["automountServiceAccountToken"] is False


def test_everything_is_denied_both_ways_and_nothing_lets_anyone_in(objects: list[Object]) -> None:
    policies = [item["spec"] for item in objects if item["kind"] == "NetworkPolicy"]
    assert one(objects, "NetworkPolicy", "default-deny")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert not any("ingress" in policy for policy in policies)


@pytest.mark.parametrize(
    ("address", "is_open"),
    [
        ("93.184.215.14", True),
        ("1.1.1.1", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("203.0.114.7", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
    ],
)
def test_the_web_is_open_and_the_inside_is_not(address: str, is_open: bool) -> None:
    policy = one(render(values(cell={"blocked_cidrs": ["203.0.114.0/24"]})), "NetworkPolicy", "egress-web")["spec"]
    ((rule,), (port,)) = (policy["egress"][0]["to"], policy["egress"][0]["ports"])
    asked = ipaddress.ip_address(address)
    closed = any(asked in ipaddress.ip_network(cidr) for cidr in rule["ipBlock"]["except"])
    assert (asked in ipaddress.ip_network(rule["ipBlock"]["cidr"]) and not closed) is is_open
    assert port == {"protocol": "TCP", "port": 443}


def platform_pods(cell: Object) -> set[tuple[str, str]]:
    policy = one(render(values(cell=cell)), "NetworkPolicy", "egress-platform")["spec"]
    return {
        (
            peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"],
        )
        for peer in policy["egress"][0]["to"]
    }


def test_a_box_reaches_only_the_parts_of_the_platform_that_it_needs() -> None:
    needed = {("openclaw-cloud", "api"), ("openclaw-cloud", "token-proxy")}
    assert platform_pods({}) == needed
    assert platform_pods({"browser_url": "ws://b:9"}) == needed | {("openclaw-cloud", "browser-proxy")}


def test_names_are_asked_of_the_clusters_dns_alone(objects: list[Object]) -> None:
    (rule,) = one(objects, "NetworkPolicy", "egress-dns")["spec"]["egress"]
    (peer,) = rule["to"]
    assert peer["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {("UDP", 53), ("TCP", 53)}
