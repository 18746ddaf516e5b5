"""The admission rules against a table of requests: what the box chart makes passes, each attack is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controller.domain.states import State
from controller.sandbox.cluster import admission
from controller.sandbox.cluster.resources import NAMESPACE, PVC
from tests.argocd.admission import refusals
from tests.argocd.cells import Object, of, values
from tests.charts import boxes
from tests.charts.boxes import ID

IMAGE = values()["cell"]["image"]
OTHER = "0" * 26
PLURALS = {"NetworkPolicy": "networkpolicies"}


def made(kind: str, **spec: Any) -> Object:
    return boxes.one(boxes.render(boxes.values(cell={"image": IMAGE}, **spec)), kind)


SPACE = made("Namespace")


def changed(obj: Object, path: str, value: Any) -> Object:
    """A copy with one field set, or taken away for None; the parts of ``path`` are split by ``|``."""
    out = copy.deepcopy(obj)
    *parents, leaf = path.split("|")
    at: Any = out
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
    if value is None:
        del at[leaf]
    else:
        at[leaf] = value
    return out


@pytest.mark.parametrize("state", State)
def test_everything_that_the_box_chart_makes_is_admitted(state: State) -> None:
    for item in boxes.render(boxes.values(cell={"image": IMAGE}, state=state.value)):
        plural = PLURALS.get(item["kind"], item["kind"].lower() + "s")
        group = str(item["apiVersion"]).rpartition("/")[0]
        space = None if item["kind"] == "Namespace" else SPACE
        assert refusals("CREATE", f"{group}/{plural}", item, space=space) == []
        assert refusals("UPDATE", f"{group}/{plural}", item, item, space) == []


APPROVED = "metadata|annotations|openclaw.cloud/destroy-approved"
SNAPSHOT = "openclaw.cloud/snapshot-rev"


@pytest.mark.parametrize(
    ("space", "allowed"),
    [
        (SPACE, False),
        (changed(SPACE, APPROVED, "true"), True),
        (changed(SPACE, APPROVED, "false"), False),
        (changed(SPACE, APPROVED, ""), False),
        (changed(SPACE, "metadata|annotations", None), False),
        ({"metadata": {"name": "kube-system", "labels": {"team": "x"}}}, True),
        ({"metadata": {"name": "plain"}}, True),
    ],
)
def test_a_namespace_and_its_volume_go_only_when_approved_as_in_the_stand_in(space: Object, allowed: bool) -> None:
    volume = {"metadata": {"name": "data", "namespace": space["metadata"]["name"]}}
    assert (refusals("DELETE", "/namespaces", None, space) == []) is allowed
    assert (refusals("DELETE", "/persistentvolumeclaims", None, volume, space) == []) is allowed
    for kind, obj in ((NAMESPACE, space), (PVC, volume)):
        try:
            admission.check_deletion(kind, obj, space)
        except admission.Interlocked:
            assert not allowed
        else:
            assert allowed


MADE = {"rev": 8, "snapshot": {"release": "2026.11.1", "rev": 6}}


@pytest.mark.parametrize(
    ("volumes", "gone"),
    [
        (None, set()),
        ({"used": MADE, "kept": {"rev": 0}}, set()),
        ({"used": MADE, "given_up": 0}, {"data"}),
        ({"used": {"rev": 0}, "given_up": 8}, {"data-8"}),
    ],
    ids=["the first alone", "a kept one", "the first given up", "a later one given up"],
)
def test_a_volume_goes_alone_once_it_was_given_up_by_name_as_in_the_stand_in(
    volumes: Object | None, gone: set[str]
) -> None:
    space = made("Namespace", volumes=volumes)
    for name in ("data", "data-8", "data-80"):
        volume = {"metadata": {"name": name, "namespace": space["metadata"]["name"]}}
        refused = refusals("DELETE", "/persistentvolumeclaims", None, volume, space)
        assert refused == ([] if name in gone else ["box-volume-deletion"])
        try:
            admission.check_deletion(PVC, volume, space)
        except admission.Interlocked:
            assert name not in gone
        else:
            assert name in gone


def test_the_charts_own_approval_is_the_one_that_is_asked_for() -> None:
    assert refusals("DELETE", "/namespaces", None, made("Namespace", state="condemned", deletion="approved")) == []


SECURITY = "metadata|labels|pod-security.kubernetes.io/"


@pytest.mark.parametrize(
    "space",
    [
        changed(SPACE, "metadata|labels|openclaw.cloud/box", None),
        changed(SPACE, "metadata|labels|openclaw.cloud/box", OTHER),
        changed(SPACE, "metadata|labels", None),
        changed(SPACE, "metadata|name", "kube-system"),
        changed(SPACE, "metadata|name", "box-x"),
        changed(changed(SPACE, "metadata|labels|openclaw.cloud/box", ".*"), "metadata|name", "box-.*"),
        changed(SPACE, "metadata|labels|openclaw.cloud/cell", "us1-a"),
        *(changed(SPACE, f"{SECURITY}{mode}", level) for mode in ("enforce", "warn") for level in ("privileged", None)),
        *(changed(SPACE, f"{SECURITY}enforce-version", version) for version in ("latest", None)),
    ],
)
@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_a_boxs_namespace_keeps_its_name_label_and_pod_security(operation: str, space: Object) -> None:
    assert refusals(operation, "/namespaces", space, SPACE) == ["box-namespaces"]


def test_other_namespaces_are_nobodys_business() -> None:
    assert refusals("CREATE", "/namespaces", {"metadata": {"name": "monitoring"}}) == []


SECRET = made("ExternalSecret")
KEY = "spec|data|0|remoteRef|key"


@pytest.mark.parametrize(
    "secret",
    [
        changed(SECRET, KEY, f"boxes/{OTHER}/agent/1"),
        changed(SECRET, KEY, f"boxes/{ID}/../{OTHER}/agent/1"),
        changed(SECRET, KEY, f"boxes/{ID}/telegram/1"),
        changed(SECRET, KEY, f"boxes/{ID}/agent/1?x=../../{OTHER}"),
        changed(SECRET, KEY, f"x/boxes/{ID}/agent/1"),
        changed(SECRET, "spec|secretStoreRef|name", "ops"),
        changed(SECRET, "spec|secretStoreRef|kind", "SecretStore"),
        changed(SECRET, "spec|secretStoreRef", None),
        changed(SECRET, "spec|dataFrom", [{"find": {"name": {"regexp": ".*"}}}]),
        changed(SECRET, "spec|data", None),
        changed(SECRET, "spec|data|0|sourceRef", {"storeRef": {"name": "ops"}}),
    ],
)
@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_a_box_fetches_no_secret_but_its_own(operation: str, secret: Object) -> None:
    assert refusals(operation, "external-secrets.io/externalsecrets", secret, SECRET, SPACE) == ["box-external-secrets"]


@pytest.mark.parametrize("plural", ["secretstores", "pushsecrets"])
def test_a_box_has_no_secret_store_of_its_own(plural: str) -> None:
    assert refusals("CREATE", f"external-secrets.io/{plural}", {"spec": {}}, space=SPACE) == ["box-secret-stores"]


DEPLOYMENT = made("Deployment")
POD = DEPLOYMENT["spec"]["template"]
DIGEST = "@sha256:" + "a" * 64
IMAGES = [
    "docker.io/library/alpine" + DIGEST,
    "registry.openclaw.example.evil.example/box" + DIGEST,
    "registryXopenclaw.example/box" + DIGEST,
    "registry.openclaw.example/box:latest",
    "alpine",
]


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("place", ["containers", "initContainers", "ephemeralContainers"])
def test_no_image_from_elsewhere_or_without_a_digest_runs_in_a_box(place: str, image: str) -> None:
    pod = changed(POD, f"spec|{place}", [{"name": "x", "image": image}])
    for resource in ("/pods", "/pods/ephemeralcontainers"):
        assert refusals("UPDATE", resource, pod, POD, SPACE) == ["box-images"]
    deployment = changed(DEPLOYMENT, "spec|template", pod)
    assert refusals("CREATE", "apps/deployments", deployment, space=SPACE) == ["box-images"]


def test_a_pod_of_our_image_runs_in_a_box_and_any_pod_elsewhere() -> None:
    assert refusals("CREATE", "/pods", POD, space=SPACE) == []
    foreign = {"spec": {"containers": [{"name": "x", "image": "alpine"}]}}
    assert refusals("CREATE", "/pods", foreign, space={"metadata": {"name": "kube-system", "labels": {}}}) == []


def test_every_policy_is_bound_to_deny_and_fails_closed() -> None:
    policies, bindings = of("ValidatingAdmissionPolicy"), of("ValidatingAdmissionPolicyBinding")
    assert {one["spec"]["failurePolicy"] for one in policies} == {"Fail"}
    assert [one["spec"]["policyName"] for one in bindings] == [one["metadata"]["name"] for one in policies]
    assert all("Deny" in one["spec"]["validationActions"] for one in bindings)


def test_the_cells_own_store_may_be_changed() -> None:
    [store] = of("ClusterSecretStore")
    assert refusals("UPDATE", "external-secrets.io/clustersecretstores", store, store) == []


def test_a_rule_on_what_lies_in_a_boxs_namespace_is_on_nothing_outside_every_namespace() -> None:
    inside = [one for one in of("ValidatingAdmissionPolicy") if "namespaceSelector" in one["spec"]["matchConstraints"]]
    rules = [rule for one in inside for rule in one["spec"]["matchConstraints"]["resourceRules"]]
    assert {rule.get("scope") for rule in rules} == {"Namespaced"}


@pytest.mark.parametrize(
    ("space", "labels", "allowed"),
    [
        (SPACE, {SNAPSHOT: "6"}, False),
        (changed(SPACE, f"metadata|annotations|{SNAPSHOT}", "6"), {SNAPSHOT: "6"}, False),
        (changed(SPACE, f"metadata|annotations|{SNAPSHOT}", "5"), {SNAPSHOT: "6"}, False),
        (changed(SPACE, f"metadata|annotations|{SNAPSHOT}", "10"), {SNAPSHOT: "9"}, True),
        (changed(SPACE, f"metadata|annotations|{SNAPSHOT}", "10"), {}, False),
        (changed(SPACE, f"metadata|annotations|{SNAPSHOT}", "x"), {SNAPSHOT: "9"}, False),
        (changed(SPACE, "metadata|annotations", None), {SNAPSHOT: "6"}, False),
        (changed(SPACE, APPROVED, "true"), {SNAPSHOT: "6"}, True),
    ],
)
def test_a_snapshot_goes_only_once_a_later_one_is_kept_or_with_its_box(
    space: Object, labels: Object, allowed: bool
) -> None:
    taken = {"metadata": {"name": "data-2026.11.1-6", "labels": labels}}
    found = refusals("DELETE", "snapshot.storage.k8s.io/volumesnapshots", None, taken, space)
    assert found == ([] if allowed else ["box-snapshot-deletion"])
