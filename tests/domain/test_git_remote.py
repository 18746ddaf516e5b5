"""How long a remote that is away is left alone."""

from __future__ import annotations

import pytest

from controller.core.errors import Temporary
from controller.domain import git_remote
from controller.domain.git_remote import GitRemote


@pytest.mark.parametrize(("failures", "longest"), [(1, 1), (2, 2), (4, 8), (5, 10), (9000, 10)])
def test_the_wait_grows_to_its_bound_and_differs(failures: int, longest: float) -> None:
    waits = set()
    for _ in range(20):
        remote = GitRemote(id="main", failures=failures - 1, refused={})
        waits.add(git_remote.lost(remote, Temporary("away")).total_seconds())
    assert longest / 2 <= min(waits) < max(waits) <= longest


def test_the_first_failure_says_since_when() -> None:
    remote = GitRemote(id="main", failures=0, refused={})
    git_remote.lost(remote, Temporary("away", reason="no route"))
    since = remote.since
    git_remote.lost(remote, Temporary("closed", reason="frozen"))
    assert (remote.since, remote.error, remote.reason, remote.resting()) == (since, "closed", "frozen", True)
