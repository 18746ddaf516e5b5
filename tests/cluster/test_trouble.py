"""What fails for longer than Argo CD tries is brought to its end once the trouble is over."""

from __future__ import annotations

from tests.cluster.kube import Object
from tests.cluster.world import World
from tests.faults.loops import until

NAME = "tests-no-deployments"
LONG = 240.0


def phase(world: World, box: str) -> str:
    """How the box's last operation ended; empty as long as none has."""
    found = world.kube.find("Application", box, "argocd") or {}
    return "" if "operation" in found else str(found.get("status", {}).get("operationState", {}).get("phase", ""))


def health(world: World, box: str) -> str:
    """What Argo CD thinks of the box; empty as long as it does not know it."""
    found = world.kube.find("Application", box, "argocd") or {}
    return str(found.get("status", {}).get("health", {}).get("status", ""))


def refusing(box: str) -> tuple[Object, Object]:
    """A rule under which the box gets no Deployment, and its binding."""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"openclaw.cloud/box": box}},
                "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                                   "resources": ["deployments"]}],
            },
            "validations": [{"expression": "false", "message": "not today"}],
        },
    }  # fmt: skip
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME}, "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }  # fmt: skip
    return policy, binding


def test_a_sync_that_was_given_up_goes_on_when_its_objects_are_admitted(world: World) -> None:
    [box] = world.buy()
    policy, binding = refusing(box)
    world.kube.apply(policy, binding)
    world.write()
    until(lambda: phase(world, box) == "Failed", "Argo CD gives up", LONG)
    assert "not today" in str(world.application(box)["status"]["operationState"])
    for one in (binding, policy):
        world.kube.delete(one["kind"], NAME)
    world.settled(box, seconds=LONG)


def test_a_box_that_was_bought_while_no_token_could_be_fetched_comes_up_once_it_can(world: World) -> None:
    world.vault_away.set()
    [box] = world.buy()
    world.write()
    until(lambda: health(world, box) == "Degraded", "it is seen", LONG)
    assert world.behind((box,))
    world.vault_away.clear()
    world.settled(box, seconds=LONG)
