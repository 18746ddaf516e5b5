"""The whole way to a cluster, with stand-ins for the executables, and a Git host and a Stripe that answer.

One machine for all: the way is broken off, gone to its end, gone again with nothing new, and again with a new release.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from controller.devcluster import secrets, steps
from controller.devcluster.steps import Doors
from controller.devcluster.tools import ToolFailed
from controller.sandbox.stripe.app import create_app
from tests.argocd import cells
from tests.devcluster import flags
from tests.devcluster.machines import Call, Machine
from tests.devcluster.test_repositories import git
from tests.gitops.hosts import ssh_host
from tests.sandbox.stripe.serving import serving

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh client on this machine")
ROOT = cells.ROOT.parent
SPACE = "openclaw-cloud"
CHARTS = f"configmap/{SPACE}/charts"
ORDER = [
    "k3d cluster create",
    "docker build --file",
    "kubectl apply --server-side --force-conflicts --kustomize",
    "helm upgrade --install external-secrets",
    "helm package",
    "helm template vendors",
    "kubectl rollout status deployment",
    "helm template platform-apps",
    "kubectl wait --for=jsonpath={.status.sync.status}=Synced",
    "kubectl wait --for=jsonpath={.status.health.status}=Healthy",
]


@dataclass
class Way:
    """What was called on each of the ways, and what there was after each."""

    calls: dict[str, list[Call]] = field(default_factory=dict)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    commits: str = ""

    def lines(self, which: str) -> list[str]:
        """The calls as lines."""
        return [" ".join(call.argv) for call in self.calls[which]]


async def go(machine: Machine, folder: Path) -> Way:
    way, keys = Way(), known_keys(machine)
    for name in ("gitops.git", "openclaw-cloud.git"):
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(folder / name))
    async with ssh_host(keys[0], keys[1]) as port:
        with serving(create_app(folder / "stripe")) as stripe:
            doors = Doors(stripe, f"ssh://git@127.0.0.1:{port}{folder}")
            for which, prepare in {"broken": break_off, "whole": mend, "again": mend, "released": release}.items():
                prepare(machine)
                try:
                    await asyncio.to_thread(steps.up, machine.tools, ROOT, lambda _: None, doors)
                except ToolFailed:
                    assert which == "broken"
                way.calls[which], way.objects[which] = machine.told(), machine.world("objects")
    way.commits = git(folder / "openclaw-cloud.git", "rev-list", "--count", "main").strip()
    return way


def known_keys(machine: Machine) -> list[asyncssh.SSHKey]:
    """The Git host's and the writer's, which are in the cluster before the first way."""
    ours = secrets.keep(machine.tools, SPACE, "platform", secrets.platform())
    theirs = secrets.keep(machine.tools, SPACE, "vendors", secrets.vendors(ours))
    machine.told()
    return [asyncssh.import_private_key(one) for one in (theirs["git_host_key"], ours["GIT_SSH_KEY"])]


def break_off(machine: Machine) -> None:
    machine.have(broken=["helm template vendors"])


def mend(machine: Machine) -> None:
    machine.have(broken=[])


def release(machine: Machine) -> None:
    machine.have(objects={name: one for name, one in machine.world("objects").items() if name != CHARTS})


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """All four ways."""
    folder = tmp_path_factory.mktemp("developer")
    with pytest.MonkeyPatch.context() as patch:
        yield asyncio.run(go(Machine(folder / "machine", patch), folder))


def test_each_step_comes_after_what_it_needs(way: Way) -> None:
    told = way.lines("broken") + way.lines("whole")
    first = [next(at for at, line in enumerate(told) if line.startswith(step)) for step in ORDER]
    assert first == sorted(first)


def test_afterwards_all_is_there(way: Way) -> None:
    made = {"/".join(name.split("/")[::2]) for name in way.objects["whole"]}
    assert {"secret/platform", "secret/vendors", "secret/cell-reader", "configmap/charts"} <= made
    assert {"namespace/argocd", "namespace/external-secrets", "namespace/openclaw-cloud"} <= made
    assert "STRIPE_WEBHOOK_SECRET" in way.objects["whole"][f"secret/{SPACE}/platform"]["data"]


def test_whoever_is_interrupted_goes_on_from_there(way: Way) -> None:
    assert way.lines("broken")[-1].startswith("helm template vendors")
    done = ("k3d cluster create", "docker pull", "helm upgrade", "helm package")
    assert [line for line in way.lines("whole") if line.startswith(done)] == []


def test_a_second_time_nothing_is_made_again(way: Way) -> None:
    again = ("k3d cluster create", "docker pull", "helm upgrade", "helm package", "kubectl annotate", "helm template p")
    assert [line for line in way.lines("again") if line.startswith(again)] == []
    assert way.objects["again"] == way.objects["whole"]
    assert way.commits == "1"


def test_argo_cd_looks_again_at_what_has_moved_and_only_then(way: Way) -> None:
    refresh = "kubectl annotate applications.argoproj.io argocd.argoproj.io/refresh=hard"
    asked = {which: any(line.startswith(refresh) for line in way.lines(which)) for which in way.calls}
    assert asked == {"broken": False, "whole": False, "again": False, "released": True}


def test_what_kubectl_and_helm_do_is_done_to_this_cluster(way: Way) -> None:
    found = [call for calls in way.calls.values() for call in calls if call.argv[0] in {"kubectl", "helm"}]
    assert {str(call.kubeconfig).rpartition("/")[2] for call in found} == {"kubeconfig"}
    assert len({call.kubeconfig for call in found}) == 1


def command(argv: list[str], commands: Iterable[str]) -> str:
    return max((one for one in commands if argv[: len(one.split())] == one.split()), key=len)


OF_KUBECTL = ("annotate", "apply", "get", "rollout status", "wait")


@pytest.fixture(scope="module")
def options() -> dict[str, list[str]]:
    """By command: of kubectl as it says itself, of the others as they said when they were asked."""
    kubectl = str(Path(sys.executable).parent / "kubectl")
    asked = {f"kubectl {one}": flags.asked([kubectl, *one.split()], "options") for one in OF_KUBECTL}
    return flags.known() | asked


def test_every_option_is_one_that_the_executable_takes(way: Way, options: dict[str, list[str]]) -> None:
    argvs = [call.argv for calls in way.calls.values() for call in calls if "buildx" not in call.argv]
    used = {(command(argv, options), part.partition("=")[0]) for argv in argvs for part in argv if part[:2] == "--"}
    assert len(used) > 20
    assert {(one, option) for one, option in used if option not in options[one]} == set()


def test_every_command_is_gone_through(way: Way, options: dict[str, list[str]]) -> None:
    ran = {command(call.argv, options) for calls in way.calls.values() for call in calls if "buildx" not in call.argv}
    assert options.keys() - ran == {"k3d cluster delete", "k3d cluster start"}
