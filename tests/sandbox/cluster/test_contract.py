"""What Kubernetes promises to kubectl. CONTRACT_KUBECONFIG points these tests at a real cluster instead."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.core import ids
from tests.sandbox.cluster.kubectl import Kubectl
from tests.sandbox.cluster.running import Cluster, until

REAL = os.environ.get("CONTRACT_KUBECONFIG")
Object = dict[str, Any]


@pytest.fixture(scope="module")
def kubectl(request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    home = Path(tempfile.mkdtemp())
    file = Path(REAL) if REAL else request.getfixturevalue("cluster").data / "kubeconfig"
    yield Kubectl(file, home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def space(kubectl: Kubectl) -> Iterator[str]:
    name = f"contract-{ids.new()[-8:]}"
    kubectl.applies({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    kubectl.run("delete", "namespace", name, "--wait=false")


def settings(space: str, **data: str) -> Object:
    meta = {"name": "settings", "namespace": space}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def deployment(space: str, says: str = "hello", **resources: Any) -> Object:
    container = {
        "name": "web", "image": "busybox:1.37", "command": ["/bin/sh", "-c", f"echo {says}; exec sleep 600"],
        "resources": resources,
    }  # fmt: skip
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    spec = {"replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": "web"}}}
    meta = {"name": "web", "namespace": space}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {**spec, "template": template}}


def rolled_out(kubectl: Kubectl, space: str) -> None:
    kubectl.says("rollout", "status", "deployment/web", "-n", space, "--timeout=90s")


def test_an_object_is_applied_changed_and_deleted_by_the_client(kubectl: Kubectl, space: str) -> None:
    assert "created" in kubectl.applies(settings(space, a="1", b="2"))
    assert "unchanged" in kubectl.applies(settings(space, a="1", b="2"))
    assert "configured" in kubectl.applies(settings(space, a="3"))
    assert kubectl.reads("get", "configmap", "settings", "-n", space)["data"] == {"a": "3"}
    assert "deleted" in kubectl.says("delete", "configmap", "settings", "-n", space, "--wait")


def test_an_object_is_applied_by_the_server_and_conflicts_are_told(kubectl: Kubectl, space: str) -> None:
    kubectl.applies(settings(space, a="1", b="2"), "--server-side", "--field-manager=one")
    kubectl.applies(settings(space, a="1"), "--server-side", "--field-manager=one")
    found = kubectl.reads("get", "configmap", "settings", "-n", space, "--show-managed-fields")
    assert found["data"] == {"a": "1"}
    assert [one["manager"] for one in found["metadata"]["managedFields"]] == ["one"]
    wanted = json.dumps(settings(space, a="2"))
    assert ".data.a" in kubectl.refuses("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=wanted)
    kubectl.applies(settings(space, a="2"), "--server-side", "--field-manager=two", "--force-conflicts")


def test_a_field_that_is_no_field_is_refused_unless_validation_is_off(kubectl: Kubectl, space: str) -> None:
    odd = {**settings(space, a="1"), "dato": {"b": "2"}}
    assert 'unknown field "dato"' in kubectl.refuses("apply", "-f", "-", stdin=json.dumps(odd))
    kubectl.applies(odd, "--validate=false")
    wrong = deployment(space)
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"
    assert 'containers[0].imagePolicy"' in kubectl.refuses("apply", "-f", "-", stdin=json.dumps(wrong))


def test_a_dry_run_of_the_server_stores_nothing(kubectl: Kubectl, space: str) -> None:
    assert "server dry run" in kubectl.applies(settings(space, a="1"), "--dry-run=server")
    assert "NotFound" in kubectl.refuses("get", "configmap", "settings", "-n", space)


def test_lists_are_narrowed_paged_and_printed_in_every_form(kubectl: Kubectl, space: str) -> None:
    for name in ("one", "two", "three"):
        made = settings(space, a="1")
        made["metadata"] |= {"name": name, "labels": {"kind": name}}
        kubectl.applies(made)
    get = ("get", "configmaps", "-n", space)
    assert kubectl.says(*get, "-l", "kind in (one, two)", "-o", "name").split() == ["configmap/one", "configmap/two"]
    assert kubectl.says(*get, "--field-selector=metadata.name=three", "-o", "name").split() == ["configmap/three"]
    whole = kubectl.says(*get, "-l", "kind", "-o", "jsonpath={.items[*].metadata.name}").split()
    paged = kubectl.says(*get, "-l", "kind", "--chunk-size=1", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert sorted(whole) == sorted(paged) == ["one", "three", "two"]
    table = kubectl.says(*get, "-l", "kind=one").splitlines()
    assert (table[0].split(), table[1].split()[:2]) == (["NAME", "DATA", "AGE"], ["one", "1"])


def test_a_deployment_rolls_out_restarts_and_scales(kubectl: Kubectl, space: str) -> None:
    kubectl.applies(deployment(space))
    rolled_out(kubectl, space)
    first = kubectl.says("get", "pods", "-n", space, "-o", "name")
    kubectl.says("rollout", "restart", "deployment/web", "-n", space)
    rolled_out(kubectl, space)
    assert kubectl.says("get", "pods", "-n", space, "-o", "name") != first
    kubectl.says("scale", "deployment/web", "-n", space, "--replicas=0")
    until(lambda: not kubectl.reads("get", "pods", "-n", space)["items"])
    assert kubectl.says("get", "deployment", "web", "-n", space).splitlines()[1].split()[1] == "0/0"


def test_a_pod_is_described_with_its_events_and_its_log_is_read(kubectl: Kubectl, space: str) -> None:
    kubectl.applies(deployment(space, says="one; echo two"))
    rolled_out(kubectl, space)
    until(lambda: kubectl.says("logs", "deployment/web", "-n", space) == "one\ntwo\n")
    assert kubectl.says("logs", "deployment/web", "-n", space, "--tail=1") == "two\n"
    told = kubectl.says("describe", "pod", "-n", space)
    assert re.search(r"Normal\s+Scheduled\s.*Successfully assigned", told)
    assert re.search(r"Normal\s+Started\s", told)
    wide = kubectl.says("get", "pods", "-n", space, "-o", "wide").splitlines()
    assert wide[0].split()[:6] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP"]
    assert wide[1].split()[1:3] == ["1/1", "Running"]


def test_a_log_is_followed_until_its_pod_ends(kubectl: Kubectl, space: str) -> None:
    kubectl.applies(deployment(space, says="begun"))
    rolled_out(kubectl, space)
    following = kubectl.starts("logs", "-f", "deployment/web", "-n", space)
    assert following.stdout is not None
    assert following.stdout.readline() == "begun\n"
    kubectl.says("scale", "deployment/web", "-n", space, "--replicas=0")
    assert following.wait(60) == 0


def test_a_watch_shows_what_changes(kubectl: Kubectl, space: str) -> None:
    watching = kubectl.starts(
        "get", "configmap", "-n", space, "-w", "-o", "name", "--field-selector=metadata.name=settings"
    )
    assert watching.stdout is not None
    kubectl.applies(settings(space, a="1"))
    assert watching.stdout.readline() == "configmap/settings\n"
    watching.terminate()
    watching.wait(30)


def test_a_quota_refuses_a_pod_and_lets_it_in_when_there_is_room(kubectl: Kubectl, space: str) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "box", "namespace": space}}
    kubectl.applies({**quota, "spec": {"hard": {"limits.memory": "16Mi"}}})
    kubectl.applies(deployment(space, limits={"memory": "32Mi"}, requests={"memory": "32Mi"}))
    until(lambda: "FailedCreate" in kubectl.says("get", "events", "-n", space))
    assert "ReplicaFailure" in kubectl.says("describe", "deployment", "web", "-n", space)
    kubectl.applies({**quota, "spec": {"hard": {"limits.memory": "64Mi"}}})
    kubectl.says("rollout", "status", "deployment/web", "-n", space, "--timeout=110s")
    until(lambda: kubectl.reads("get", "quota", "box", "-n", space)["status"]["used"] == {"limits.memory": "32Mi"})


def test_a_namespace_goes_with_all_that_is_in_it(kubectl: Kubectl, space: str) -> None:
    kubectl.applies(deployment(space))
    rolled_out(kubectl, space)
    kubectl.says("delete", "namespace", space, "--wait", "--timeout=90s")
    assert "NotFound" in kubectl.refuses("get", "namespace", space)


def test_a_new_definition_makes_its_kind_usable(kubectl: Kubectl, space: str) -> None:
    group = f"g{ids.new()[-8:]}.example.com"
    column = {"name": "Colour", "type": "string", "jsonPath": ".spec.colour"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema, "additionalPrinterColumns": [column]}
    names = {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"]}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    meta = {"name": f"widgets.{group}"}
    kubectl.applies(
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}
    )
    kubectl.says("wait", "--for=condition=Established", f"crd/widgets.{group}", "--timeout=60s")
    one = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": space}}
    kubectl.applies({**one, "spec": {"colour": "red"}})
    assert kubectl.says("get", f"widgets.{group}", "-n", space).splitlines()[1].split()[:2] == ["one", "red"]
    kubectl.says("delete", "crd", f"widgets.{group}", "--wait", "--timeout=60s")


def test_questions_about_rights_are_answered(kubectl: Kubectl) -> None:
    assert kubectl.says("auth", "can-i", "create", "pods").strip() == "yes"
    assert "pods" in kubectl.says("api-resources", "--namespaced", "-o", "name").split()


@pytest.mark.skipif(bool(REAL), reason="the stand-in's own furniture")
def test_argos_kinds_are_listed_with_their_columns(kubectl: Kubectl, cluster: Cluster) -> None:
    box_id = cluster.running()
    row = kubectl.says("get", "applications", "-n", "argocd", box_id).splitlines()
    assert (row[0].split()[:3], row[1].split()[:3]) == (["NAME", "SYNC", "STATUS"], [box_id, "Synced", "Healthy"])
    secret = kubectl.says("get", "externalsecrets", "-n", f"box-{box_id}").splitlines()[1].split()
    assert secret[-3:-1] == ["SecretSynced", "True"]
    told = kubectl.says("describe", "application", box_id, "-n", "argocd")
    assert "OperationCompleted" in told
    assert "boxes-0" in kubectl.says("get", "applicationsets", "-A")
    crds = kubectl.says("get", "crd", "-o", "name")
    assert all(f"{name}.argoproj.io" in crds for name in ("applications", "applicationsets", "appprojects"))


@pytest.mark.skipif(bool(REAL), reason="a real cluster may have no metrics server")
def test_usage_is_that_of_the_processes_and_a_pod_without_one_has_none(kubectl: Kubectl, cluster: Cluster) -> None:
    box_id = cluster.running()
    top = ("top", "pod", "-n", f"box-{box_id}", "--no-headers")
    until(lambda: kubectl.run(*top).returncode == 0)
    _, cpu, memory = kubectl.says(*top).split()
    assert cpu.endswith("m")
    assert 1 <= int(memory.removesuffix("Mi")) <= 200
    assert kubectl.says("top", "node", "--no-headers").split()[0] == "sandbox"
    cluster.commit(box_id, state="suspended", rev=2)
    until(lambda: cluster.settled(box_id, 2) and not cluster.pods(box_id))
    until(lambda: kubectl.run(*top).stdout == "")
