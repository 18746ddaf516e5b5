"""What the cluster's Git host is given, over SSH, by the git that a developer has."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncssh
import pytest
import yaml
from pydantic import SecretStr

from controller.devcluster import repositories, secrets
from controller.devcluster.images import Images
from controller.devcluster.repositories import Filled, Host
from controller.devcluster.tools import ToolFailed
from controller.gitops.platform_chart import PlatformValues
from controller.gitops.remotes import GitSettings
from tests.argocd import cells
from tests.devcluster.machines import Machine
from tests.gitops.hosts import ssh_host
from tests.gitops.test_platform_chart import given

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh client on this machine")
ROOT = cells.ROOT.parent
IMAGES = Images(*(f"registry.localhost/{name}@sha256:{name[0].encode().hex() * 32}" for name in Images.__annotations__))
FILLED = Filled(IMAGES, "[git.openclaw-cloud]:2222 ssh-ed25519 AAAA")


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """A Git host with two repositories in which nothing is yet."""
    writer, own = secrets.private_key(), secrets.private_key()
    for name in ("gitops.git", "openclaw-cloud.git"):
        git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(tmp_path / name))
    keys = [asyncssh.import_private_key(key) for key in (own, writer)]
    async with ssh_host(keys[0], keys[1]) as port:
        yield Host.at(f"ssh://git@127.0.0.1:{port}{tmp_path}", writer, own)


def git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *args], check=True, capture_output=True, text=True).stdout


def held(folder: Path, name: str) -> set[str]:
    return set(git(folder / name, "ls-tree", "-r", "--name-only", "main").splitlines())


async def seed(machine: Machine, host: Host) -> None:
    await asyncio.to_thread(repositories.seed_ledger, machine.tools, host, ROOT / "gitops-repo")


async def bring(machine: Machine, host: Host, root: Path = ROOT, filled: Filled = FILLED) -> bool:
    return await asyncio.to_thread(repositories.bring_tree, machine.tools, host, root, filled)


async def test_a_new_ledger_is_the_seed_dot_files_and_all(machine: Machine, host: Host, tmp_path: Path) -> None:
    await seed(machine, host)
    wanted = {
        str(file.relative_to(ROOT / "gitops-repo")) for file in (ROOT / "gitops-repo").rglob("*") if file.is_file()
    }
    assert held(tmp_path, "gitops.git") == wanted
    assert ".github/workflows/boxes.yaml" in wanted


async def test_a_ledger_that_is_there_is_left_alone(machine: Machine, host: Host, tmp_path: Path) -> None:
    await seed(machine, host)
    before = git(tmp_path / "gitops.git", "rev-parse", "main")
    await seed(machine, host)
    assert git(tmp_path / "gitops.git", "rev-parse", "main") == before


async def test_a_host_with_another_key_is_given_nothing(machine: Machine, host: Host, tmp_path: Path) -> None:
    other = Host.at(host.url, host.key, secrets.private_key())
    with pytest.raises(ToolFailed):
        await seed(machine, other)
    assert git(tmp_path / "gitops.git", "for-each-ref") == ""


async def test_argo_cds_tree_is_brought_as_it_is_here(machine: Machine, host: Host, tmp_path: Path) -> None:
    assert await bring(machine, host)
    assert held(tmp_path, "openclaw-cloud.git") == {
        str(file.relative_to(ROOT)) for file in (ROOT / "argocd").rglob("*") if file.is_file()
    }


async def test_an_unchanged_tree_is_no_commit_and_a_changed_one_is(
    machine: Machine, host: Host, tmp_path: Path
) -> None:
    await bring(machine, host)
    assert not await bring(machine, host)
    assert await bring(machine, host, filled=Filled(IMAGES, "[git.openclaw-cloud]:2222 ssh-ed25519 BBBB"))
    assert git(tmp_path / "openclaw-cloud.git", "rev-list", "--count", "main") == "2\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """``argocd/`` with what a cluster fills in."""
    shutil.copytree(ROOT / "argocd", tmp_path / "argocd")
    repositories.fill(tmp_path / "argocd", FILLED)
    return tmp_path / "argocd"


def test_nothing_but_the_local_environments_values_is_filled_in(tree: Path) -> None:
    files = [file.relative_to(tree) for file in tree.rglob("*") if file.is_file()]
    changed = {str(name) for name in files if (tree / name).read_bytes() != (ROOT / "argocd" / name).read_bytes()}
    assert changed == {"cells/local.yaml", "platforms/local.yaml"}


def test_what_is_filled_in_is_what_the_charts_take(tree: Path) -> None:
    cells.render(yaml.safe_load((tree / "cells/local.yaml").read_text()))
    values = yaml.safe_load((tree / "platforms/local.yaml").read_text())["platform"]["values"]
    made = PlatformValues.model_validate(given("dev", **values))
    assert (made.image, made.stores and made.stores.redis.image) == (IMAGES.platform, IMAGES.valkey)
    assert "0" * 64 not in made.model_dump_json()


def test_the_writer_recognises_the_host_by_what_is_filled_in(tree: Path) -> None:
    values = yaml.safe_load((tree / "platforms/local.yaml").read_text())["platform"]["values"]
    settings = PlatformValues.model_validate(given("dev", **values)).settings
    told = GitSettings(
        git_remote=settings.git_remote,
        git_clone_dir=Path("/tmp/clone.git"),
        git_known_hosts=settings.git_known_hosts or "",
        git_ssh_key=SecretStr(secrets.private_key()),
    )
    assert told.git_known_hosts.startswith("[git.openclaw-cloud]:2222 ssh-ed25519 ")


def test_comments_outlive_the_filling_in(tree: Path) -> None:
    comment: Callable[[str], bool] = lambda line: "#" in line  # noqa: E731
    for name in ("cells/local.yaml", "platforms/local.yaml"):
        there, here = ((at / name).read_text().splitlines() for at in (tree, ROOT / "argocd"))
        assert len([*filter(comment, there)]) == len([*filter(comment, here)])
