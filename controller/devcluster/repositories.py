"""What the cluster's Git host holds: the ledger of boxes, filled once, and Argo CD's tree, kept as it is here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from pydantic import SecretStr
from ruamel.yaml import YAML

from controller.devcluster import secrets
from controller.devcluster.images import Images
from controller.devcluster.tools import Tools
from controller.gitops import remotes

NAMED = "[git.openclaw-cloud]:2222"
"""The host as the writer's known_hosts has it (``charts/platform/values-dev.yaml``)."""

_WHO = ("-c", "user.name=openclaw-cloud", "-c", "user.email=gitops@openclaw.cloud", "-c", "commit.gpgsign=false")


@dataclass(frozen=True)
class Host:
    """The Git host, as this machine reaches it with the writer's key."""

    url: str
    known_hosts: str
    key: str
    known_in_cluster: str
    """The line by which the writer recognises it."""

    @classmethod
    def at(cls, url: str, writer_key: str, host_key: str) -> Host:
        """The one that ``url`` leads to."""
        to, public = urlsplit(url), secrets.public_key(host_key)
        return cls(url, f"[{to.hostname}]:{to.port} {public}", writer_key, f"{NAMED} {public}")


@dataclass(frozen=True)
class Filled:
    """What stands in the tree as placeholders and only this cluster knows."""

    images: Images
    known_hosts: str


def seed_ledger(tools: Tools, host: Host, seed: Path) -> None:
    """There is a ``gitops.git``. A new one has ``gitops-repo/``; one that was there is the writer's, and left alone."""
    with _reached(host, "gitops.git") as (remote, env), TemporaryDirectory() as folder:
        # never forced: if only the way there is broken, the push is refused
        if not tools.succeeds("git", "ls-remote", "--exit-code", remote, "refs/heads/main", env=env):
            shutil.copytree(seed, folder, dirs_exist_ok=True)
            tools.run("git", "init", "--quiet", "--initial-branch=main", folder)
            _commit(tools, Path(folder), "The seed of the GitOps repository")
            tools.run("git", "-C", folder, "push", "--quiet", remote, "HEAD:refs/heads/main", env=env)


def bring_tree(tools: Tools, host: Host, root: Path, filled: Filled) -> bool:
    """``openclaw-cloud.git`` has ``argocd/`` as it is here, with what only this cluster knows; whether that is new."""
    with _reached(host, "openclaw-cloud.git") as (remote, env), TemporaryDirectory() as folder:
        there = tools.succeeds("git", "clone", "--quiet", remote, folder, env=env)
        if not there:
            tools.run("git", "init", "--quiet", "--initial-branch=main", folder)
        shutil.rmtree(Path(folder) / "argocd", ignore_errors=True)
        shutil.copytree(root / "argocd", Path(folder) / "argocd")
        fill(Path(folder) / "argocd", filled)
        if there and not tools.ask("git", "-C", folder, "status", "--porcelain"):
            return False
        _commit(tools, Path(folder), "The tree as it is at the developer's")
        tools.run("git", "-C", folder, "push", "--quiet", remote, "HEAD:refs/heads/main", env=env)
        return True


def fill(argocd: Path, filled: Filled) -> None:
    """The values of the environment ``local`` name this cluster's images, and its Git host's key."""
    yaml = YAML()
    yaml.preserve_quotes = True  # Argo CD reads YAML 1.1, where a bare off is no text
    cell, platform = argocd / "cells/local.yaml", argocd / "platforms/local.yaml"
    of_cell, of_platform = yaml.load(cell), yaml.load(platform)
    of_cell["cell"]["image"] = filled.images.box
    of_platform["platform"]["values"] = {
        "image": filled.images.platform,
        "settings": {"git_known_hosts": filled.known_hosts},
        "stores": {"postgres": {"image": filled.images.postgres}, "redis": {"image": filled.images.valkey}},
    }
    yaml.dump(of_cell, cell)
    yaml.dump(of_platform, platform)


def _commit(tools: Tools, folder: Path, message: str) -> None:
    tools.run("git", "-C", str(folder), "add", "--all")
    tools.run("git", "-C", str(folder), *_WHO, "commit", "--quiet", "--message", message)


@contextmanager
def _reached(host: Host, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The repository's address and the environment in which git is let in; the key is gone after the block."""
    remote = f"{host.url}/{name}"
    settings = remotes.GitSettings(
        git_remote=remote,
        git_clone_dir=Path(),
        git_known_hosts=host.known_hosts,
        git_ssh_key=SecretStr(host.key),
    )
    with remotes.access(settings) as way:
        yield remote, dict(way.environment)
