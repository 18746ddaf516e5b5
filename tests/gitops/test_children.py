"""Git that takes too long is ended with everything it started, and the next round goes on."""

from __future__ import annotations

import contextvars
import shutil
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from controller.gitops import children, commits
from controller.gitops.children import Round, RoundOver
from controller.gitops.repository import Commit, GitSettings, RemoteAway, Repository
from tests.gitops import remotes
from tests.gitops.test_commits import job_ids, provision


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for(condition: Callable[[], object]) -> None:
    """Return once ``condition()`` holds; half a minute is enough for anything here."""
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def push_until_stopped(repository: Repository, remote: Path) -> list[BaseException]:
    """What comes of a push whose hook hangs, when its round is stopped then."""
    caught: list[BaseException] = []
    intent = provision(repository.fetch())

    def push() -> None:
        try:
            commits.write(repository, [intent])
        except Exception as error:
            caught.append(error)

    with children.within(timedelta(hours=1)) as current:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(push,))
        thread.start()
        wait_for(lambda: remotes.hanging(remote))
        current.stop()
        thread.join(30)
    return caught


def test_a_stopped_round_ends_git_and_its_helpers(repository: Repository, remote: Path) -> None:
    remotes.hang_on_push(remote)
    [error] = push_until_stopped(repository, remote)
    assert isinstance(error, RoundOver)
    [pid] = remotes.hanging(remote)
    wait_for(lambda: not alive(pid))
    remotes.accept_pushes(remote)
    intent = provision(repository.fetch())
    assert list(commits.write(repository, [intent]).landed) == job_ids(remote)


def test_git_is_ended_where_no_tool_lists_processes(
    repository: Repository, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("git", "sleep"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    remotes.hang_on_push(remote)
    assert [type(error) for error in push_until_stopped(repository, remote)] == [RoundOver]


def test_a_push_that_takes_longer_than_one_command_may_is_a_remote_that_is_away(remote: Path, tmp_path: Path) -> None:
    settings = GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "c.git")
    intent = provision(Repository(settings).fetch())
    (sha,) = Repository(settings).chain(intent.base_sha, [Commit({intent.path: b"x"}, "x")])
    remotes.hang_on_push(remote)
    with pytest.raises(RemoteAway, match="no end after"):
        Repository(settings.model_copy(update={"git_timeout": timedelta(seconds=0.5)})).push(sha)


def test_a_round_begins_nothing_new_in_its_second_half(repository: Repository, remote: Path) -> None:
    batch = [provision(repository.fetch()) for _ in range(4)]
    remotes.refuse_every_push(remote, "no")
    with children.within(timedelta(hours=1)) as current:
        current.half = 0.0
        with pytest.raises(RoundOver):
            commits.write(repository, batch)
    assert remotes.pushes(remote) == 1


def test_a_round_is_late_after_half_its_time() -> None:
    now = time.monotonic()
    assert [Round(half, now + 9).late() for half in (now - 1, now + 9)] == [True, False]
