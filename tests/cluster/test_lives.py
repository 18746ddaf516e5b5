"""A box's life on a real cluster, through commits alone."""

from __future__ import annotations

from functools import partial

from controller.clients.kubernetes import namespace
from controller.domain import lifecycle
from controller.domain.lifecycle import LifecycleSettings, Why
from controller.domain.plans import PlanName
from tests.cluster.kube import Object
from tests.cluster.world import Verb, World

WHY = Why("tests")
AT_ONCE = LifecycleSettings.model_validate({"retention": "PT0S"})
suspend: Verb = partial(lifecycle.suspend, why=WHY)
condemn: Verb = partial(lifecycle.condemn, why=WHY)


def resize(plan: PlanName) -> Verb:
    """The move to another plan."""
    return partial(lifecycle.resize, plan=plan.value, why=WHY)


def reactivate(world: World) -> Verb:
    """The way back to a running box."""
    return lambda session, box: lifecycle.reactivate(session, world.mint, box, WHY)


def end_retention(world: World) -> None:
    """What the sweeper does for condemned boxes whose time is up: one step of each."""

    async def step() -> None:
        async with world.database.transaction() as session:
            assert await lifecycle.end_retention(session, AT_ONCE)

    world.loop.call(step())


def container(world: World, box_id: str) -> Object:
    """The agent's container, as the cluster has it."""
    [found] = world.inside("Deployment", box_id, "agent")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_a_bought_box_has_its_fence_its_volume_its_token_and_one_ready_pod(world: World) -> None:
    box = world.live()
    space = namespace(box)
    [pod] = world.kube.list("Pod", space)
    fence = world.inside("NetworkPolicy", box, "default-deny")
    token = world.inside("Secret", box, "agent-v1")
    assert pod["status"]["containerStatuses"][0]["ready"]
    assert fence["metadata"]["creationTimestamp"] <= pod["metadata"]["creationTimestamp"]
    assert (list(token["data"]), token["immutable"]) == (["token"], True)
    assert world.inside("PersistentVolumeClaim", box, "data")["status"]["phase"] == "Bound"


def test_the_application_carries_the_rev_and_is_owned_by_its_set(world: World, box: str) -> None:
    application = world.application(box)
    assert application["spec"]["source"]["helm"]["valuesObject"]["spec"]["rev"] == world.settled(box)[box]
    assert [one["kind"] for one in application["metadata"]["ownerReferences"]] == ["ApplicationSet"]
    assert "finalizers" not in application["metadata"]


def test_a_resize_changes_the_pod_the_quota_and_the_volume(world: World) -> None:
    box = world.live()
    world.run(box, resize(PlanName.PRO))
    quota = world.inside("ResourceQuota", box, "box")["spec"]["hard"]
    volume = world.inside("PersistentVolumeClaim", box, "data")["spec"]["resources"]["requests"]["storage"]
    assert (container(world, box)["resources"]["requests"]["cpu"], quota["requests.cpu"], volume) == (
        "500m", "500m", "10Gi",
    )  # fmt: skip
    assert world.pods(box) == 1


def test_a_suspended_box_keeps_its_volume_and_comes_back(world: World) -> None:
    box = world.live()
    volume = world.inside("PersistentVolumeClaim", box, "data")["metadata"]["uid"]
    world.run(box, suspend)
    assert world.pods(box) == 0
    world.run(box, reactivate(world))
    assert world.inside("Deployment", box, "agent")["status"]["readyReplicas"] == 1
    assert world.inside("PersistentVolumeClaim", box, "data")["metadata"]["uid"] == volume


def test_a_condemned_box_that_pays_again_gets_a_new_token_and_its_old_volume(world: World) -> None:
    box = world.live()
    volume = world.inside("PersistentVolumeClaim", box, "data")["metadata"]["uid"]
    world.run(box, condemn)
    assert (world.pods(box), world.kube.find("Secret", "agent-v1", namespace(box))) == (0, None)
    world.run(box, reactivate(world))
    assert list(world.inside("Secret", box, "agent-v2")["data"]) == ["token"]
    assert world.inside("PersistentVolumeClaim", box, "data")["metadata"]["uid"] == volume


def test_a_destroyed_box_leaves_nothing_but_an_empty_application(world: World) -> None:
    box = world.live()
    world.run(box, condemn)
    end_retention(world)
    world.write()
    world.settled(box)
    assert world.kube.find("Namespace", namespace(box)), "approved is not yet destroyed"
    end_retention(world)
    world.write()
    world.settled(box)
    assert world.kube.find("Namespace", namespace(box)) is None
    assert world.application(box)["status"].get("resources", []) == []
