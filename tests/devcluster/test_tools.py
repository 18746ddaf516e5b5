"""What has to be there before anything is done, and what becomes of an executable that gives up."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from controller.devcluster import k3d, steps, tools
from controller.devcluster.tools import ToolFailed, ToolsMissing
from tests.devcluster.machines import EXECUTABLES, Machine, install


@pytest.mark.parametrize("name", [*tools.NEEDED])
def test_each_executable_that_is_missing_has_a_line_of_its_own(
    name: str, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "some", *({*tools.NEEDED} - {name}))
    monkeypatch.setenv("PATH", str(tmp_path / "some"))
    (told,) = tools.missing()
    assert told.startswith(f"missing: {name}, which ")


@pytest.mark.parametrize(("call", "what"), [("docker version --format", "daemon"), ("docker buildx version", "buildx")])
def test_what_docker_lacks_is_said(machine: Machine, call: str, what: str) -> None:
    machine.have(broken=[call])
    (told,) = [line for line in tools.missing() if "docker" in line]
    assert told.startswith(f"missing: docker's {what}, which ")


def test_nothing_is_done_while_something_is_missing(machine: Machine, tmp_path: Path) -> None:
    machine.have(broken=["docker version --format"])
    with pytest.raises(ToolsMissing, match="daemon"):
        steps.up(machine.tools, tmp_path, print)
    assert {call.argv[0] for call in machine.told()} == {"docker"}


def test_an_executable_that_gives_up_is_named(machine: Machine) -> None:
    machine.have(broken=["k3d cluster list"])
    with pytest.raises(ToolFailed) as caught:
        k3d.delete(machine.tools)
    assert caught.value.facts == {"tool": "k3d cluster list", "exit_code": 1}


CONFIG = Path("k3d.yaml")


@pytest.mark.parametrize(
    ("clusters", "done"),
    [
        ({}, ["k3d cluster create --config k3d.yaml"]),
        ({"another": 1}, ["k3d cluster create --config k3d.yaml"]),
        ({"openclaw-cloud": 0}, ["k3d cluster start openclaw-cloud --wait"]),
        ({"openclaw-cloud": 1}, []),
    ],
)
def test_a_cluster_is_made_or_started_only_where_it_has_to_be(
    machine: Machine, clusters: dict[str, int], done: list[str]
) -> None:
    machine.have(clusters=clusters)
    k3d.create(machine.tools, CONFIG)
    assert machine.commands() == [
        "k3d cluster list --output json", *done, "k3d kubeconfig get openclaw-cloud"
    ]  # fmt: skip


def test_the_kubeconfig_is_a_file_of_its_own_that_only_its_owner_reads(machine: Machine) -> None:
    k3d.create(machine.tools, CONFIG)
    machine.tools.run("kubectl", "get", "pods", "--ignore-not-found")
    assert stat.S_IMODE(machine.tools.kubeconfig.stat().st_mode) == 0o600
    assert {call.kubeconfig for call in machine.told()} == {str(machine.tools.kubeconfig)}


def test_deleting_leaves_no_cluster_and_no_kubeconfig_and_may_be_repeated(machine: Machine) -> None:
    k3d.create(machine.tools, CONFIG)
    for _ in range(2):
        steps.down(machine.tools)
    assert (machine.world("clusters"), machine.tools.kubeconfig.exists()) == ({}, False)
    assert machine.commands().count("k3d cluster delete openclaw-cloud") == 1


def test_the_stand_ins_are_all_that_a_machine_needs_but_git_and_ssh() -> None:
    assert {*tools.NEEDED} - {*EXECUTABLES} == {"git", "ssh"}
