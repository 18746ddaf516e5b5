"""What somebody changes in the cluster by hand is put back."""

from __future__ import annotations

from controller.clients.kubernetes import namespace
from tests.cluster.world import World
from tests.faults.loops import until


def test_a_pod_that_is_scaled_away_comes_back(world: World, box: str) -> None:
    space = namespace(box)
    world.kube.patch("Deployment", "agent", {"spec": {"replicas": 0}}, space)
    until(lambda: world.inside("Deployment", box, "agent")["spec"]["replicas"] == 1, "healed")
    until(lambda: world.inside("Deployment", box, "agent")["status"].get("readyReplicas") == 1, "runs again")


def test_a_fence_that_is_torn_down_is_put_up_again(world: World, box: str) -> None:
    space = namespace(box)
    world.kube.delete("NetworkPolicy", "default-deny", space)
    until(lambda: world.kube.find("NetworkPolicy", "default-deny", space), "healed")


def test_a_quota_that_is_raised_is_put_back(world: World, box: str) -> None:
    space = namespace(box)
    before = world.inside("ResourceQuota", box, "box")["spec"]["hard"]
    world.kube.patch("ResourceQuota", "box", {"spec": {"hard": {"requests.memory": "64Gi"}}}, space)
    until(lambda: world.inside("ResourceQuota", box, "box")["spec"]["hard"] == before, "healed")


def test_an_object_that_is_not_ours_is_left_alone(world: World, box: str) -> None:
    space = namespace(box)
    note = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note", "namespace": space}, "data": {}}
    world.kube.create(note)
    assert world.compared(box)["status"]["sync"]["status"] == "Synced"
    assert world.kube.find("ConfigMap", "note", space) is not None
    world.kube.delete("ConfigMap", "note", space)
