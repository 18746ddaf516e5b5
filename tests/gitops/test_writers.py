"""Two writers at once, without a lock and with bad luck, beside ops who merge: each job in one commit, nothing lost.

``FAULTS=full`` takes the size of a real burst.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from pathlib import Path

from controller.core.errors import CloudError, Temporary
from controller.gitops import commits, manifests
from controller.gitops.commits import Intent
from controller.gitops.repository import Commit, GitSettings, PushRejected, RemoteAway, Repository
from tests.gitops import remotes
from tests.gitops.test_commits import follow, job_ids, provision

BOXES = 100 if os.environ.get("FAULTS") == "full" else 4
MERGES = 100 if os.environ.get("FAULTS") == "full" else 4
TROUBLES = ("away", "lost reply", "rejected")


class Unlucky(Repository):
    """A writer of whose pushes a third go wrong, in every way in turn; each is counted."""

    def __init__(self, settings: GitSettings, seed: int) -> None:
        super().__init__(settings)
        self.hits = Counter[str]()
        self._luck = random.Random(seed)

    def push(self, sha: str) -> None:
        trouble = TROUBLES[self.hits.total() % 3] if self._luck.random() < 0.3 or not self.hits else ""
        self.hits[trouble] += bool(trouble)
        if trouble == "away":
            raise RemoteAway("git_remote_away")
        if trouble == "rejected":
            raise PushRejected("git_push_rejected")
        super().push(sha)
        if trouble == "lost reply":
            raise RemoteAway("git_remote_away")


def histories(tip: str) -> list[Intent]:
    """Three jobs for each box, the boxes' in turn."""
    firsts = [provision(tip) for _ in range(BOXES)]
    stops = [follow(first, "suspend", 2, tip, state="suspended") for first in firsts]
    starts = [follow(first, "reactivate", 3, tip, state="active") for first in firsts]
    return [*firsts, *stops, *starts]


def land(repository: Repository, intents: list[Intent], failures: list[CloudError]) -> None:
    """What a writer does without a lock: batch by batch, each until all of it has landed."""
    for at in range(0, len(intents), 5):
        batch = intents[at : at + 5]
        while batch:
            try:
                outcome = commits.write(repository, batch)
            except Temporary:
                continue
            failures += outcome.refused.values()
            batch = [intent for intent in batch if intent.job_id not in outcome.landed | outcome.refused]


def merge(repository: Repository) -> None:
    """Ops' changes, each pushed until it is taken."""
    for number in range(MERGES):
        while True:
            tip = repository.fetch()
            try:
                repository.push(repository.chain(tip, [Commit({f"ops/{number}.md": b"x\n"}, "ops\n")])[0])
                break
            except PushRejected:
                continue


def test_every_job_is_in_one_commit_and_nothing_of_ops_is_lost(remote: Path, tmp_path: Path) -> None:
    settings = [GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / name) for name in ("a", "b", "ops")]
    writers, ops = [Unlucky(one, seed) for seed, one in enumerate(settings[:2])], Repository(settings[2])
    intents, failures = histories(ops.fetch()), list[CloudError]()
    threads = [threading.Thread(target=land, args=(one, intents, failures)) for one in writers]
    threads.append(threading.Thread(target=merge, args=(ops,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(job_ids(remote)), failures) == (sorted(intent.job_id for intent in intents), [])
    assert_whole(remote, intents)
    assert any(one.hits["away"] for one in writers)


def assert_whole(remote: Path, intents: list[Intent]) -> None:
    """History is linear and sound, has ops' files, and each box is as its last job wanted."""
    assert remotes.git(remote, "rev-list", "--merges", "--count", "main") == "0"
    remotes.git(remote, "fsck", "--strict", "--no-dangling")
    assert len(remotes.git(remote, "ls-tree", "--name-only", "main", "ops/").split()) == MERGES
    for intent in intents[-BOXES:]:
        spec = manifests.read(remotes.git(remote, "show", f"main:{intent.path}").encode() + b"\n").spec
        assert (spec.rev, spec.state) == (3, "active")
