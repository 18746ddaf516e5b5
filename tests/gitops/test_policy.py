"""The rules on rendered objects: the real chart keeps all of them, and each weakened box is told which it breaks."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest

from controller.domain.plans import PlanName
from controller.domain.states import State
from controller.gitops import policy
from controller.gitops.findings import Finding
from controller.gitops.objects import Box, Object
from tests.charts.boxes import EVERY, ID, one, render, values

Change = Callable[[list[Object]], object]
BOX = Box(ID, State.ACTIVE, "openclaw-cloud")


def pod(objects: list[Object]) -> Any:
    return one(objects, "Deployment")["spec"]["template"]["spec"]


def box(objects: list[Object]) -> Any:
    return pod(objects)["containers"][0]


def guarded(objects: list[Object]) -> Any:
    return box(objects)["securityContext"]


def claimed(objects: list[Object]) -> Any:
    return next(volume for volume in pod(objects)["volumes"] if "persistentVolumeClaim" in volume)[
        "persistentVolumeClaim"
    ]


def spec(objects: list[Object], kind: str, name: str | None = None) -> Any:
    return one(objects, kind, name)["spec"]


def meta(objects: list[Object], kind: str, name: str | None = None) -> Any:
    return one(objects, kind, name)["metadata"]


def web(objects: list[Object]) -> Any:
    return spec(objects, "NetworkPolicy", "egress-web")["egress"][0]


def dns(objects: list[Object]) -> Any:
    return spec(objects, "NetworkPolicy", "egress-dns")["egress"][0]


def without(kind: str, name: str | None = None) -> Change:
    return lambda objects: objects.remove(one(objects, kind, name))


def second_claim(objects: list[Object]) -> None:
    other = copy.deepcopy(one(objects, "PersistentVolumeClaim"))
    other["metadata"]["name"] = "data-8"
    objects.append(other)


def extra(api: str, kind: str) -> Change:
    labels = {"openclaw.cloud/box": ID}
    made = {"apiVersion": api, "kind": kind, "metadata": {"name": "x", "namespace": f"box-{ID}", "labels": labels}}
    return lambda objects: objects.append(made)


def peer(namespace: dict[str, Any], pods: dict[str, Any]) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": namespace}, "podSelector": {"matchLabels": pods}}


TOLD = re.compile(r"x\.yaml:1: \S+( \S+){2,} \([a-z-]+\)")
"""What ``gitops validate`` prints: the place, a sentence and the rule's name."""

PLATFORM = {"kubernetes.io/metadata.name": "openclaw-cloud"}
WEAKENED: list[tuple[str, str, Change]] = [
    ("privileged", "privileged", lambda o: guarded(o).update(privileged=True)),
    ("a folder of the host", "host-path", lambda o: pod(o)["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
    ("the host's network", "host-namespaces", lambda o: pod(o).update(hostNetwork=True)),
    ("the host's processes", "host-namespaces", lambda o: pod(o).update(hostPID=True)),
    ("the host's IPC", "host-namespaces", lambda o: pod(o).update(hostIPC=True)),
    ("a port of the host", "host-port", lambda o: box(o)["ports"][0].update(hostPort=80)),
    ("a capability more", "capabilities", lambda o: guarded(o)["capabilities"].update(add=["NET_ADMIN"])),
    ("capabilities kept", "capabilities", lambda o: guarded(o).pop("capabilities")),
    ("maybe root", "run-as-non-root", lambda o: pod(o)["securityContext"].pop("runAsNonRoot")),
    ("root again in the container", "run-as-non-root", lambda o: guarded(o).update(runAsNonRoot=False)),
    ("a low user", "high-user", lambda o: pod(o)["securityContext"].update(runAsUser=1000)),
    ("no group for files", "high-user", lambda o: pod(o)["securityContext"].pop("fsGroup")),
    ("root by number", "high-user", lambda o: guarded(o).update(runAsUser=0)),
    ("a root to write to", "read-only-root", lambda o: guarded(o).update(readOnlyRootFilesystem=False)),
    ("escalation", "privilege-escalation", lambda o: guarded(o).pop("allowPrivilegeEscalation")),
    ("no seccomp", "seccomp", lambda o: pod(o)["securityContext"].pop("seccompProfile")),
    ("seccomp left", "seccomp", lambda o: guarded(o).update(seccompProfile={"type": "Unconfined"})),
    ("an open /proc", "proc-mount", lambda o: guarded(o).update(procMount="Unmasked")),
    ("no AppArmor", "host-guards", lambda o: guarded(o).update(appArmorProfile={"type": "Unconfined"})),
    ("a label of SELinux", "host-guards", lambda o: pod(o)["securityContext"].update(seLinuxOptions={"type": "spc_t"})),
    ("a process of the host", "host-guards", lambda o: guarded(o).update(windowsOptions={"hostProcess": True})),
    ("mounts for others", "mount-shared", lambda o: box(o)["volumeMounts"][0].update(mountPropagation="Bidirectional")),
    (
        "somebody's volume",
        "own-volume",
        lambda o: spec(o, "PersistentVolumeClaim").update(volumeName="pv-of-another"),
    ),
    (
        "a copy of somebody's data",
        "own-volume",
        lambda o: spec(o, "PersistentVolumeClaim").update(dataSource={"kind": "PersistentVolumeClaim", "name": "x"}),
    ),
    (
        "a snapshot of somebody's",
        "own-volume",
        lambda o: spec(o, "PersistentVolumeClaim").update(
            dataSourceRef={
                "apiGroup": "snapshot.storage.k8s.io",
                "kind": "VolumeSnapshot",
                "name": "x",
                "namespace": "y",
            }
        ),
    ),
    ("another claim", "own-volume", lambda o: claimed(o).update(claimName="another")),
    ("an end that waits", "no-owners", lambda o: meta(o, "Namespace").update(finalizers=["example.com/never"])),
    ("somebody who takes it along", "no-owners", lambda o: meta(o, "ConfigMap").update(ownerReferences=[{"uid": "x"}])),
    ("sysctls", "sysctls", lambda o: pod(o)["securityContext"].update(sysctls=[{"name": "a", "value": "1"}])),
    ("the cluster's token in the pod", "pod-token", lambda o: pod(o).pop("automountServiceAccountToken")),
    ("the cluster's token", "account-token", lambda o: one(o, "ServiceAccount").pop("automountServiceAccountToken")),
    ("somebody's account", "own-account", lambda o: pod(o).update(serviceAccountName="default")),
    ("service links", "service-links", lambda o: pod(o).pop("enableServiceLinks")),
    ("shared processes", "shared-processes", lambda o: pod(o).update(shareProcessNamespace=True)),
    ("a node of choice", "placing", lambda o: pod(o).update(nodeName="control-plane")),
    ("a second container", "one-container", lambda o: pod(o)["containers"].append({**box(o), "name": "other"})),
    ("a container before", "one-container", lambda o: pod(o).update(initContainers=[{**box(o), "name": "first"}])),
    ("a projected token", "volume-kinds", lambda o: pod(o)["volumes"].append({"name": "x", "projected": {}})),
    ("endless scratch space", "scratch-limit", lambda o: pod(o)["volumes"][1]["emptyDir"].clear()),
    ("an image by tag", "image-digest", lambda o: box(o).update(image="registry.example/box:latest")),
    ("no memory limit", "resources", lambda o: box(o)["resources"]["limits"].pop("memory")),
    ("no request", "resources", lambda o: box(o)["resources"]["requests"].pop("ephemeral-storage")),
    ("all of a secret", "secret-in-env", lambda o: box(o).update(envFrom=[{"secretRef": {"name": "x"}}])),
    (
        "a token in the environment",
        "secret-in-env",
        lambda o: box(o)["env"].append({"name": "A", "value": "ghp_" + "a" * 36}),
    ),
    ("another secret", "secret-in-env", lambda o: box(o)["env"][-3]["valueFrom"]["secretKeyRef"].update(name="db")),
    ("two replicas", "one-replica", lambda o: spec(o, "Deployment").update(replicas=2)),
    ("no number of replicas", "one-replica", lambda o: spec(o, "Deployment").pop("replicas")),
    ("a rolling update", "recreate", lambda o: spec(o, "Deployment").update(strategy={"type": "RollingUpdate"})),
    (
        "a volume for many",
        "one-pod-volume",
        lambda o: spec(o, "PersistentVolumeClaim").update(accessModes=["ReadWriteMany"]),
    ),
    ("a volume that is pruned", "volume-kept", lambda o: meta(o, "PersistentVolumeClaim").pop("annotations")),
    ("a second volume for ever", "volume-kept", second_claim),
    (
        "a quota for three volumes",
        "quota",
        lambda o: spec(o, "ResourceQuota")["hard"].update(persistentvolumeclaims="3"),
    ),
    ("a snapshot of nothing", "snapshot", extra("snapshot.storage.k8s.io/v1", "VolumeSnapshot")),
    (
        "a hook",
        "no-hooks",
        lambda o: meta(o, "ConfigMap")["annotations"].update({"argocd.argoproj.io/hook": "PreSync"}),
    ),
    ("no quota", "quota", without("ResourceQuota")),
    ("a quota for two pods", "quota", lambda o: spec(o, "ResourceQuota")["hard"].update(pods="2")),
    ("a load balancer", "quota", lambda o: spec(o, "ResourceQuota")["hard"].pop("services.loadbalancers")),
    ("too small a quota", "quota-fits", lambda o: spec(o, "ResourceQuota")["hard"].update({"limits.memory": "1Gi"})),
    ("no limits", "limit-range", without("LimitRange")),
    (
        "a lax namespace",
        "pod-security",
        lambda o: meta(o, "Namespace")["labels"].update({"pod-security.kubernetes.io/enforce": "baseline"}),
    ),
    (
        "an unpinned version",
        "pod-security",
        lambda o: meta(o, "Namespace")["labels"].update({"pod-security.kubernetes.io/warn-version": "latest"}),
    ),
    ("no namespace", "pod-security", without("Namespace")),
    ("a role", "allowed-kinds", extra("rbac.authorization.k8s.io/v1", "RoleBinding")),
    ("a plain secret", "allowed-kinds", extra("v1", "Secret")),
    ("an old API", "allowed-kinds", extra("extensions/v1beta1", "NetworkPolicy")),
    ("a foreign namespace", "own-namespace", lambda o: meta(o, "ConfigMap").update(namespace="kube-system")),
    ("no namespace named", "own-namespace", lambda o: meta(o, "ServiceAccount").pop("namespace")),
    ("a missing label", "box-label", lambda o: meta(o, "ConfigMap").pop("labels")),
    (
        "another box's token",
        "own-secret",
        lambda o: spec(o, "ExternalSecret")["data"][0]["remoteRef"].update(key="boxes/x/agent/1"),
    ),
    ("another store", "own-secret", lambda o: spec(o, "ExternalSecret")["secretStoreRef"].update(name="vault")),
    ("all secrets at once", "own-secret", lambda o: spec(o, "ExternalSecret").update(dataFrom=[{"find": {}}])),
    ("nothing denied", "default-deny", without("NetworkPolicy", "default-deny")),
    (
        "egress not denied",
        "default-deny",
        lambda o: spec(o, "NetworkPolicy", "default-deny").update(policyTypes=["Ingress"]),
    ),
    ("somebody let in", "no-ingress", lambda o: spec(o, "NetworkPolicy", "egress-dns").update(ingress=[{}])),
    ("egress to everywhere", "bounded-egress", lambda o: web(o).pop("to")),
    ("egress to all ports", "bounded-egress", lambda o: dns(o).pop("ports")),
    ("a private range", "private-egress", lambda o: web(o)["to"][0]["ipBlock"]["except"].remove("10.0.0.0/8")),
    (
        "the metadata service",
        "private-egress",
        lambda o: web(o)["to"].append({"ipBlock": {"cidr": "169.254.169.254/32"}}),
    ),
    ("IPv6", "private-egress", lambda o: web(o)["to"].append({"ipBlock": {"cidr": "::/0"}})),
    ("plain HTTP", "web-port", lambda o: web(o)["ports"].append({"protocol": "TCP", "port": 80})),
    ("a range of ports", "web-port", lambda o: web(o)["ports"][0].update(endPort=65535)),
    ("all namespaces", "neighbours", lambda o: dns(o)["to"].append({"namespaceSelector": {}})),
    ("other boxes", "neighbours", lambda o: dns(o)["to"].append({"podSelector": {}})),
    (
        "the platform's database",
        "neighbours",
        lambda o: dns(o)["to"].append(peer(PLATFORM, {"app.kubernetes.io/name": "postgres"})),
    ),
    ("DNS pods on all ports", "dns-port", lambda o: dns(o)["ports"].append({"protocol": "TCP", "port": 9153})),
]


@pytest.fixture(scope="module")
def rendered() -> list[Object]:
    return render(values())


@pytest.mark.parametrize(("rule", "change"), [case[1:] for case in WEAKENED], ids=[case[0] for case in WEAKENED])
def test_a_weakened_box_is_refused_by_the_rule_that_it_breaks(
    rendered: list[Object], rule: str, change: Change
) -> None:
    objects = copy.deepcopy(rendered)
    change(objects)
    found = policy.check(objects, BOX)
    assert {breach.rule for breach in found} == {rule}
    assert all(TOLD.fullmatch(str(Finding("x.yaml", 1, breach.sentence, breach.rule))) for breach in found)


def test_there_are_as_many_weakened_boxes_as_there_should_be() -> None:
    assert len({name for name, _, _ in WEAKENED}) == len(WEAKENED) >= 25


def test_every_rule_has_a_box_that_breaks_it() -> None:
    assert {rule for _, rule, _ in WEAKENED} | {"destroyed-is-empty"} == set(policy.RULES)


@pytest.mark.parametrize("state", [State.SUSPENDED, State.CONDEMNED])
def test_a_stopped_box_has_no_pod(rendered: list[Object], state: State) -> None:
    (breach,) = policy.check(rendered, Box(ID, state, "openclaw-cloud"))
    assert (breach.rule, breach.sentence) == (
        "one-replica", f"Deployment/agent asks for 1 replicas; a box that is {state} has 0",
    )  # fmt: skip


def test_a_destroyed_box_leaves_nothing(rendered: list[Object]) -> None:
    found = policy.check(rendered[:1], Box(ID, State.DESTROYED, "openclaw-cloud"))
    assert [breach.rule for breach in found] == ["destroyed-is-empty"]


@pytest.mark.parametrize("odd", [{}, {"kind": "Deployment", "spec": [1]}, {"kind": "NetworkPolicy", "spec": None}])
def test_what_is_no_proper_object_breaks_rules_and_not_the_judge(odd: Object) -> None:
    assert policy.check([odd], BOX)


@pytest.mark.parametrize(("state", "plan", "locale", "niche"), EVERY)
def test_the_chart_keeps_every_rule(state: State, plan: PlanName, locale: str, niche: str) -> None:
    cell = {"browser_url": "wss://b.example", "runtime_class": "gvisor", "blocked_cidrs": ["203.0.113.0/24"]}
    objects = render(values(state=state, plan=plan, locale=locale, niche=niche, cell=cell))
    assert policy.check(objects, Box(ID, state, "openclaw-cloud")) == []
