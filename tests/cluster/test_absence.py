"""What disappears takes nobody along: a file, a set, Argo CD's Applications, the Git remote."""

from __future__ import annotations

from controller.gitops import manifests
from tests.cluster.kube import ARGO
from tests.cluster.test_lives import suspend
from tests.cluster.world import World
from tests.faults.loops import until
from tests.gitops import remotes


def says_that_it_fails(world: World, name: str) -> bool:
    """Whether the ApplicationSet's status is that of an error: it is written a moment after a refresh is answered."""
    status = world.kube.get("ApplicationSet", name, ARGO).get("status", {})
    found = {one["type"]: one["status"] for one in status.get("conditions", [])}
    return found.get("ErrorOccurred") == "True"


def test_a_file_that_is_gone_leaves_the_box_as_it_was(world: World, box: str) -> None:
    before = world.inside("Deployment", box, "agent")["metadata"]["uid"]
    content = world.content(box)
    remotes.commit(world.remote, {world.path(box): None}, "lost")
    world.refreshed(manifests.application_set(box))
    assert world.application(box)["spec"]["source"]["helm"]["valuesObject"]["spec"]["state"] == "active"
    assert world.inside("Deployment", box, "agent")["metadata"]["uid"] == before
    remotes.commit(world.remote, {world.path(box): content}, "found again")


def test_a_set_that_is_deleted_leaves_applications_and_boxes(world: World) -> None:
    box = world.live()
    name = manifests.application_set(box)
    world.kube.delete("ApplicationSet", name, ARGO)
    until(lambda: world.kube.find("ApplicationSet", name, ARGO) is None, "the set goes")
    until(lambda: "ownerReferences" not in world.application(box)["metadata"], "the Application stands alone")
    assert world.pods(box) == 1
    world.kube.apply(*[one for one in world.objects if one["metadata"]["name"] == name])
    world.run(box, suspend)
    assert world.pods(box) == 0


def test_an_application_that_is_deleted_leaves_the_box_and_comes_back(world: World, box: str) -> None:
    before = world.inside("Deployment", box, "agent")["metadata"]["uid"]
    uid = world.application(box)["metadata"]["uid"]
    world.kube.delete("Application", box, ARGO)
    # asked for: a set that was made anew does not watch the Applications that it found
    world.refreshed(manifests.application_set(box))
    until(lambda: _other(world, box, uid), "its set makes it again")
    until(lambda: world.application(box).get("status", {}).get("sync", {}).get("status") == "Synced", "it is in sync")
    assert world.inside("Deployment", box, "agent")["metadata"]["uid"] == before


def test_a_remote_that_is_away_removes_nobody_and_is_read_again_when_it_is_back(world: World, box: str) -> None:
    name = manifests.application_set(box)
    world.host.status = 503
    world.cluster.refresh(name)
    until(lambda: says_that_it_fails(world, name), "it says so")
    assert world.pods(box) == 1
    world.host.status = None
    fresh = world.live()
    world.run(fresh, suspend)
    world.cluster.refresh(name)
    until(lambda: not says_that_it_fails(world, name), "it reads Git again")


def _other(world: World, box: str, uid: str) -> bool:
    found = world.kube.find("Application", box, ARGO)
    return found is not None and found["metadata"]["uid"] != uid
