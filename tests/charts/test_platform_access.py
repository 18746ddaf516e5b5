"""What our processes may ask of a cluster: the rights that the client's calls need, and how far each reaches."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controller.clients.argocd import SKIP
from controller.clients.kubernetes import DEPLOYMENT, HELD
from tests.argocd.admission import refusing
from tests.charts.deployments import Object, rendered

WATCHER = {"userInfo": {"username": "system:serviceaccount:openclaw-cloud:watcher"}}
WRITER = {"userInfo": {"username": "system:serviceaccount:openclaw-cloud:writer"}}
OTHER = {"userInfo": {"username": "system:serviceaccount:argocd:argocd-application-controller"}}
APPLICATION: Object = {
    "metadata": {"name": "01k", "labels": {"openclaw.cloud/state": "active"},
                 "annotations": {"openclaw.cloud/rev": "1"}},
    "spec": {"source": {"chart": "box"}}, "status": {"sync": {"status": "Synced"}},
}  # fmt: skip


def rights(account: str) -> set[tuple[str, str, str]]:
    """Every ``(resource, verb, name)`` that the account has, ``*`` for any name."""
    bound = [
        one["roleRef"]
        for one in rendered()
        if one["kind"] in {"RoleBinding", "ClusterRoleBinding"} and one["subjects"][0]["name"] == account
    ]
    roles = [one for one in rendered() if {"kind": one["kind"], "name": one["metadata"]["name"]} in [
        {"kind": ref["kind"], "name": ref["name"]} for ref in bound]]  # fmt: skip
    return {
        (f"{group}/{resource}", verb, name)
        for role in roles for rule in role["rules"] for group in rule["apiGroups"] for resource in rule["resources"]
        for verb in rule["verbs"] for name in rule.get("resourceNames", ["*"])
    }  # fmt: skip


def test_the_watcher_alone_may_touch_what_runs() -> None:
    assert rights("watcher") == {
        *(("argoproj.io/applications", verb, "*") for verb in ("get", "list", "watch", "patch")),
        ("/pods", "list", "*"), ("/namespaces", "list", "*"), ("metrics.k8s.io/pods", "list", "*"),
        ("apps/deployments/scale", "patch", DEPLOYMENT),
    }  # fmt: skip


def test_the_writer_has_argo_cd_look_and_begin_anew_and_deletes_applications_of_nothing() -> None:
    assert rights("writer") == {
        *(("argoproj.io/applicationsets", verb, "*") for verb in ("get", "patch")),
        *(("argoproj.io/applications", verb, "*") for verb in ("get", "patch", "delete")),
        ("/namespaces", "list", "*"), ("/pods", "list", "*"),
    }  # fmt: skip


LABELS: Object = {"labels": {"openclaw.cloud/state": "active"}}
NEVER: Object = {"resources": [{"kind": "Namespace"}], "operationState": {"phase": "Running"}}
EMPTY: Object = {"metadata": {"labels": {"openclaw.cloud/state": "destroyed"}}, "status": {"resources": []}}


@pytest.mark.parametrize(
    ("old", "allowed"),
    [
        (EMPTY, True), ({**EMPTY, "status": {"history": [{"id": 0}]}}, True),
        ({**EMPTY, "status": {"history": [{"id": 0}], "resources": [{"kind": "Namespace"}]}}, False),
        ({"metadata": LABELS}, True), ({"metadata": LABELS, "status": {}}, True),
        ({"metadata": LABELS, "status": NEVER}, True),
        ({"metadata": LABELS, "status": {**NEVER, "history": [{"id": 0}]}}, False),
        ({"metadata": LABELS, "status": {"operationState": {"phase": "Succeeded"}}}, False),
        ({**EMPTY, "metadata": {}}, False), ({"metadata": {}, "status": NEVER}, False),
        ({**EMPTY, "metadata": {**EMPTY["metadata"], "finalizers": ["resources-finalizer.argocd.argoproj.io"]}}, False),
        ({"metadata": {**LABELS, "finalizers": ["resources-finalizer.argocd.argoproj.io"]}}, False),
    ],
    ids=str,
)  # fmt: skip
def test_the_writer_deletes_the_application_of_a_destroyed_box_that_is_empty_or_of_one_that_never_was(
    old: Object, allowed: bool
) -> None:
    policies = [one for one in rendered() if one["kind"] == "ValidatingAdmissionPolicy"]
    told = refusing(policies, "DELETE", "argoproj.io/applications", None, old, **WRITER)
    assert told == ([] if allowed else ["platform-retires"])
    assert refusing(policies, "DELETE", "argoproj.io/applications", None, old, **OTHER) == []


def refused(resource: str, obj: Object, old: Object, **request: Any) -> list[str]:
    policies = [one for one in rendered() if one["kind"] == "ValidatingAdmissionPolicy"]
    return refusing(policies, "UPDATE", resource, obj, old, **request)


def changed(**parts: Any) -> Object:
    made = copy.deepcopy(APPLICATION)
    for path, value in parts.items():
        *parents, leaf = path.split("__")
        at = made
        for parent in parents:
            at = at[parent]
        at[leaf] = value
    return made


HOLD = changed(
    metadata__labels={**APPLICATION["metadata"]["labels"], HELD: "01s"},
    metadata__annotations={**APPLICATION["metadata"]["annotations"], SKIP: "true"},
)


def test_the_watcher_holds_argo_cd_off_and_lets_it_go() -> None:
    assert refused("argoproj.io/applications", HOLD, APPLICATION, **WATCHER) == []
    assert refused("argoproj.io/applications", APPLICATION, HOLD, **WATCHER) == []


@pytest.mark.parametrize(
    "made",
    [
        changed(spec={"source": {"chart": "evil"}}),
        changed(status={"sync": {"status": "OutOfSync"}}),
        changed(operation={"sync": {}}),
        changed(metadata__labels={}),
        changed(metadata__labels={"openclaw.cloud/state": "destroyed"}),
        changed(metadata__annotations={"openclaw.cloud/rev": "1", "argocd.argoproj.io/refresh": "hard"}),
        changed(metadata__finalizers=["resources-finalizer.argocd.argoproj.io"]),
        changed(metadata__ownerReferences=[{"name": "x"}]),
    ],
    ids=str,
)
def test_the_watcher_changes_nothing_else_of_an_application(made: Object) -> None:
    assert refused("argoproj.io/applications", made, APPLICATION, **WATCHER) == ["platform-holds"]
    assert refused("argoproj.io/applications", made, APPLICATION, **OTHER) == []


def test_the_writer_has_a_sync_begun_anew() -> None:
    begun = changed(operation={"sync": {"revision": "1"}})
    assert refused("argoproj.io/applications", begun, APPLICATION, **WRITER) == []


@pytest.mark.parametrize(
    "more",
    [{"spec": {"source": {"chart": "evil"}}}, {"metadata__labels": {}}, {"metadata__finalizers": ["x"]}],
    ids=str,
)
def test_the_writer_changes_nothing_else_of_an_application(more: Object) -> None:
    made = changed(operation={"sync": {"revision": "1"}}, **more)
    assert refused("argoproj.io/applications", made, APPLICATION, **WRITER) == ["platform-begins"]
    assert refused("argoproj.io/applications", HOLD, APPLICATION, **WRITER) == ["platform-begins"]


@pytest.mark.parametrize(
    ("space", "spec", "allowed"),
    [("box-01k", {"replicas": 0}, True), ("box-01k", {}, True), ("box-01k", {"replicas": 1}, False),
     ("openclaw-cloud", {"replicas": 0}, False)],
)  # fmt: skip
def test_the_watcher_scales_boxes_and_only_to_zero(space: str, spec: Object, allowed: bool) -> None:
    scale = {"metadata": {"name": DEPLOYMENT}, "spec": spec}
    told = refused("apps/deployments/scale", scale, scale, namespace=space, **WATCHER)
    assert told == ([] if allowed else ["platform-scales"])
