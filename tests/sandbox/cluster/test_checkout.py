"""Argo's clone of the repository: what a git that was killed left behind, and what it reads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controller.sandbox.cluster.checkout import Checkout, GitAway
from tests.gitops import remotes
from tests.sandbox.cluster.waiting import until

LOCKS = ("refs/heads/main.lock", "packed-refs.lock", "HEAD.lock", "config.lock", "shallow.lock")


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    made = remotes.create(tmp_path / "git")
    remotes.commit(made, {"cells/c/boxes/3a/one.yaml": b"one\n", "cells/c/boxes/4b/two.yaml": b""}, "two boxes")
    return made


@pytest.mark.parametrize("lock", LOCKS)
async def test_the_lock_of_a_killed_git_stops_no_later_fetch(tmp_path: Path, remote: Path, lock: str) -> None:
    checkout = Checkout(str(remote), tmp_path / "clone.git")
    await checkout.fetch()
    (tmp_path / "clone.git" / lock).touch()
    remotes.commit(remote, {"more": b"x"}, "more")
    assert await checkout.fetch() == remotes.git(remote, "rev-parse", "main").strip()


async def test_half_a_clone_is_made_anew(tmp_path: Path, remote: Path) -> None:
    (tmp_path / "clone.git").mkdir()
    (tmp_path / "clone.git.new").mkdir()
    (tmp_path / "clone.git.new" / "HEAD").write_text("ref: refs/heads/main\n")
    assert await Checkout(str(remote), tmp_path / "clone.git").fetch()


async def test_files_are_read_by_their_digits_with_their_whole_content(tmp_path: Path, remote: Path) -> None:
    checkout = Checkout(str(remote), tmp_path / "clone.git")
    sha = await checkout.fetch()
    assert await checkout.files(sha, "cells/c/boxes", ["3"]) == {"cells/c/boxes/3a/one.yaml": b"one\n"}
    both = await checkout.files(sha, "cells/c/boxes", ["3", "4"])
    assert both == {"cells/c/boxes/3a/one.yaml": b"one\n", "cells/c/boxes/4b/two.yaml": b""}
    assert await checkout.files(sha, "cells/c/boxes", ["f"]) == {}


async def test_a_git_that_hangs_is_ended_with_its_children(tmp_path: Path, remote: Path) -> None:
    checkout = Checkout(str(remote), tmp_path / "clone.git")
    await checkout.fetch()
    note = tmp_path / "pid"
    remotes.git(tmp_path / "clone.git", "config", "remote.origin.uploadpack", f"echo $$ > {note}; exec sleep 600 #")
    with pytest.raises(GitAway, match="git_timed_out"):
        await Checkout(str(remote), tmp_path / "clone.git", timeout_seconds=1).fetch()
    await until(lambda: gone(int(note.read_text())))


async def test_a_cancelled_fetch_leaves_no_git(tmp_path: Path, remote: Path) -> None:
    checkout = Checkout(str(remote), tmp_path / "clone.git")
    await checkout.fetch()
    note = tmp_path / "pid"
    remotes.git(tmp_path / "clone.git", "config", "remote.origin.uploadpack", f"echo $$ > {note}; exec sleep 600 #")
    fetching = asyncio.create_task(checkout.fetch())
    async with asyncio.timeout(60):
        while not (note.exists() and note.read_text()):
            await asyncio.sleep(0.01)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    await until(lambda: gone(int(note.read_text())))


async def test_a_missing_remote_is_temporary(tmp_path: Path) -> None:
    with pytest.raises(GitAway, match="git_failed"):
        await Checkout(str(tmp_path / "nowhere"), tmp_path / "clone.git").fetch()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return True
