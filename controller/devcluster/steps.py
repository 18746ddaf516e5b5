"""A developer's cluster, step by step; each finds what an earlier run has done, so an interrupted one is run again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.devcluster import groundwork, images, k3d, platform, repositories, vendors
from controller.devcluster.repositories import Filled, Host
from controller.devcluster.tools import Tools, ToolsMissing, missing

Say = Callable[[str], None]


@dataclass(frozen=True)
class Doors:
    """Where this machine gets into the cluster: the ports of ``argocd/k3d.yaml``."""

    stripe: str = "http://localhost:30082"
    git: str = "ssh://git@localhost:30085"


def up(tools: Tools, root: Path, say: Say, doors: Doors = Doors()) -> None:
    """The cluster runs what this tree says, and every Application of the platform is synced and healthy.

    Raises ToolsMissing before anything is done, ToolFailed where an executable gives up.
    """
    _check()
    say("the cluster")
    k3d.create(tools, root / "argocd/k3d.yaml")
    say("images (minutes, the first time)")
    pushed = images.push_all(tools, root)
    say("Argo CD and External Secrets")
    groundwork.lay(tools, root)
    say("vendors")
    stood = vendors.bring(tools, root, pushed, doors.stripe)
    say("repositories")
    host = Host.at(doors.git, stood.writer_key, stood.host_key)
    repositories.seed_ledger(tools, host, root / "gitops-repo")
    filled = Filled(pushed, host.known_in_cluster)
    tree_moved = repositories.bring_tree(tools, host, root, filled)
    say("the platform")
    platform.bring(tools, root, filled, moved=tree_moved or stood.charts_moved)


def down(tools: Tools) -> None:
    """Nothing of the cluster is left, its secrets and volumes included."""
    _check()
    k3d.delete(tools)


def _check() -> None:
    if told := missing():
        raise ToolsMissing("tools_missing", tools="\n".join(told))
