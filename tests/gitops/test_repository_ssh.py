"""The writer at an SSH remote: by its key, to the host that it knows, and to no other."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import asyncssh
import pytest
from pydantic import SecretStr

from controller.gitops.commands import AccessDenied
from controller.gitops.remotes import GitSettings
from controller.gitops.repository import Commit, Repository
from tests.gitops import remotes
from tests.gitops.hosts import ssh_host

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh client on this machine")
CHANGE = Commit({"a.yaml": b"a: 1\n"}, "change\n\nJob-Id: 1\n")


def new_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def at(port: int, remote: Path, known: asyncssh.SSHKey, key: asyncssh.SSHKey) -> Repository:
    """A repository that believes in the host ``known`` and holds ``key``."""
    return Repository(
        GitSettings(
            git_remote=f"ssh://git@127.0.0.1:{port}{remote}",
            git_clone_dir=remote.parent / "clone.git",
            git_known_hosts=f"[127.0.0.1]:{port} {known.export_public_key().decode()}",
            git_ssh_key=SecretStr(key.export_private_key().decode().strip()),
        )
    )


def push_one(repository: Repository) -> str:
    (sha,) = repository.chain(repository.fetch(), [CHANGE])
    repository.push(sha)
    return sha


async def test_a_push_over_ssh_lands(remote: Path) -> None:
    host_key, key = new_key(), new_key()
    async with ssh_host(host_key, key) as port:
        sha = await asyncio.to_thread(push_one, at(port, remote, host_key, key))
    assert sha == remotes.git(remote, "rev-parse", "main")


async def test_a_key_that_the_host_does_not_take_makes_the_writer_wait(remote: Path) -> None:
    host_key = new_key()
    async with ssh_host(host_key, new_key()) as port:
        with pytest.raises(AccessDenied) as caught:
            await asyncio.to_thread(at(port, remote, host_key, new_key()).fetch)
    assert caught.value.code == "git_access_denied"


async def test_a_host_with_another_key_is_not_believed(remote: Path) -> None:
    key = new_key()
    async with ssh_host(new_key(), key) as port:
        with pytest.raises(AccessDenied) as caught:
            await asyncio.to_thread(at(port, remote, new_key(), key).fetch)
    assert caught.value.code == "git_host_unverified"
