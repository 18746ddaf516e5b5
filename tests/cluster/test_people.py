"""What people push: a revert rolls back, a bad file stops no box and is put right."""

from __future__ import annotations

import subprocess

import pytest

from controller.domain.plans import PlanName
from controller.gitops import manifests
from controller.gitops.manifests import ManifestError
from tests.cluster.test_absence import says_that_it_fails
from tests.cluster.test_lives import container, resize, suspend
from tests.cluster.world import SECOND, World
from tests.faults.loops import until
from tests.gitops import remotes

GARBAGE = b"kind: Box\n  spec: [\n"


def cpu(world: World, box: str) -> str:
    """The CPU that the agent's container asks for."""
    return str(container(world, box)["resources"]["requests"]["cpu"])


def test_a_reverted_commit_rolls_the_box_back(world: World) -> None:
    box = world.live()
    before = cpu(world, box)
    world.run(box, resize(PlanName.PRO))
    assert cpu(world, box) != before
    remotes.commit(world.remote, {world.path(box): reverted(world, box)}, "Revert the resize")
    world.look()
    world.settled(box)
    assert cpu(world, box) == before
    assert manifests.read(world.content(box)).spec.rev == 3


def reverted(world: World, box: str) -> bytes:
    """The box's file as ``git revert`` of the newest commit leaves it; a volume does not shrink."""
    shown = subprocess.run(
        ["git", "show", f"main~1:{world.path(box)}"], cwd=world.remote, check=True, capture_output=True
    ).stdout
    return shown.replace(b"volume_gib: 5\n", b"volume_gib: 10\n")


def test_a_release_that_ops_set_renders_the_other_chart(world: World) -> None:
    box = world.live()
    content = world.content(box)
    remotes.commit(world.remote, {world.path(box): content.replace(b"2026.11.1", SECOND.encode())}, "ops: release")
    world.look()
    world.settled(box)
    assert world.application(box)["spec"]["source"]["targetRevision"] == SECOND
    template = world.inside("Deployment", box, "agent")["spec"]["template"]
    assert template["metadata"]["annotations"]["openclaw.cloud/release"] == SECOND


def test_a_bad_file_is_not_written_by_the_writer(box: str, world: World) -> None:
    with pytest.raises(ManifestError):
        manifests.change(world.content(box), {"plan": "huge"})


def test_a_file_that_is_no_yaml_stops_its_set_alone_and_is_put_right(world: World) -> None:
    box, other = world.live(), world.live()
    while manifests.application_set(other) == manifests.application_set(box):
        other = world.live()
    name = manifests.application_set(box)
    remotes.commit(world.remote, {world.path(box): GARBAGE}, "ops: oops")
    world.cluster.refresh(name)
    until(lambda: says_that_it_fails(world, name), "it says so")
    assert (world.pods(box), world.application(box)["status"]["sync"]["status"]) == (1, "Synced")
    world.run(other, suspend)
    world.look()
    world.run(box, suspend)
    world.cluster.refresh(name)
    until(lambda: not says_that_it_fails(world, name), "it reads Git again")
