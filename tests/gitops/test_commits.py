"""Intents become commits: one each, in order, exactly once, whatever happens to ``main`` meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.core import ids
from controller.core.errors import Invalid
from controller.gitops import commits, manifests
from controller.gitops.commits import Intent, RevBehind
from controller.gitops.repository import GitSettings, PushRejected, Repository
from tests.gitops import remotes


def spec(**changed: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "rev": 1, "state": "active", "plan": "pro", "volume_gib": 10, "release": "2026.11.1", "ring": 2,
        "locale": "pt-BR", "niche": "pharmacy", "model": "default", "thinking": "low", "profile": 1,
        "secrets": {"agent": 1, "telegram": 1, "proxy": 1}, "connections": [],
    }  # fmt: skip
    return {**made, **changed}


def provision(tip: str, **changed: Any) -> Intent:
    made = Intent(
        job_id=ids.new(), box_id=ids.new(), customer_id=ids.new(), cell="local", verb="provision", rev=1,
        fields=spec(), actor="stripe", cause="evt_1", base_sha=tip,
    )  # fmt: skip
    return replace(made, **changed)


def follow(first: Intent, verb: str, rev: int, tip: str, **fields: Any) -> Intent:
    return replace(first, job_id=ids.new(), verb=verb, rev=rev, fields={"rev": rev, **fields}, base_sha=tip)


def job_ids(remote: Path) -> list[str]:
    log = remotes.git(remote, "log", "--reverse", "--format=%(trailers:key=Job-Id,valueonly)", "main")
    return log.split()


def test_each_job_becomes_one_commit_in_one_push(repository: Repository, remote: Path) -> None:
    batch = [provision(repository.fetch()) for _ in range(5)]
    outcome = commits.write(repository, batch)
    assert list(outcome.landed) == job_ids(remote) == [intent.job_id for intent in batch]


def test_a_job_changes_only_its_fields_and_keeps_comments(repository: Repository, remote: Path) -> None:
    first = provision(repository.fetch())
    commits.write(repository, [first])
    content = repository.read(repository.fetch(), [first.path])[first.path]
    remotes.commit(
        remote, {first.path: content.replace(b"overrides: {}", b"overrides:  # big\n  volume_gib: 30")}, "ops"
    )
    commits.write(repository, [follow(first, "suspend", 2, repository.fetch(), state="suspended")])
    tip = repository.fetch()
    changed = remotes.git(remote, "diff", "--numstat", f"{tip}~1", tip)
    assert changed.split()[:2] == ["2", "2"]
    assert b"# big" in repository.read(tip, [first.path])[first.path]


def test_a_standby_is_written_without_a_customer_and_a_claim_names_one(repository: Repository, remote: Path) -> None:
    fields = spec(state="standby")
    first = provision(repository.fetch(), verb="prepare", customer_id=None, actor="system:standby", fields=fields)
    claim = replace(follow(first, "claim", 2, first.base_sha, state="active"), customer_id=ids.new())
    assert commits.write(repository, [first, claim]).refused == {}
    content = repository.read(repository.fetch(), [first.path])[first.path]
    written = manifests.read(content)
    assert (written.metadata.customer, written.spec.state) == (claim.customer_id, "active")
    told = remotes.git(remote, "log", "-2", "--format=%(trailers:key=Customer,valueonly,separator=%x2c)|", "main")
    assert told.split() == [f"{claim.customer_id}|", "|"]


@pytest.mark.parametrize("verb", ["adopt", "reactivate"])
def test_no_other_verb_makes_a_standby_active(repository: Repository, verb: str) -> None:
    fields = spec(state="standby")
    first = provision(repository.fetch(), verb="prepare", customer_id=None, fields=fields)
    other = replace(follow(first, verb, 2, first.base_sha, state="active"), customer_id=ids.new())
    refused = commits.write(repository, [first, other]).refused
    assert refused[other.job_id].code == "manifest_invalid"


def test_two_jobs_of_one_box_in_a_batch_land_in_order(repository: Repository) -> None:
    first = provision(repository.fetch())
    second = follow(first, "suspend", 2, first.base_sha, state="suspended")
    commits.write(repository, [first, second])
    content = repository.read(repository.fetch(), [first.path])[first.path]
    assert (manifests.read(content).spec.rev, manifests.read(content).spec.state) == (2, "suspended")


def test_writing_again_after_a_lost_reply_makes_no_second_commit(repository: Repository, remote: Path) -> None:
    batch = [provision(repository.fetch()) for _ in range(3)]
    first = commits.write(repository, batch)
    again = commits.write(repository, batch)
    assert again.landed == first.landed
    assert len(job_ids(remote)) == 3


def test_intents_are_applied_again_when_main_moved(remote: Path, tmp_path: Path) -> None:
    repository = Racing(remote, tmp_path)
    intent = provision(repository.fetch())
    outcome = commits.write(repository, [intent])
    assert repository.rejected == 2
    assert remotes.git(remote, "rev-parse", "main") == outcome.landed[intent.job_id]
    assert remotes.git(remote, "rev-list", "--merges", "--count", "main") == "0"


def test_an_invalid_job_is_refused_alone(repository: Repository) -> None:
    good, bad = provision(repository.fetch()), provision(repository.fetch(), fields=spec(plan="golden"))
    outcome = commits.write(repository, [bad, good])
    assert list(outcome.landed) == [good.job_id]
    assert outcome.refused[bad.job_id].facts["field"] == "spec.plan"


def test_a_rev_that_git_has_already_is_refused(repository: Repository) -> None:
    first = provision(repository.fetch())
    commits.write(repository, [first])
    outcome = commits.write(repository, [follow(first, "suspend", 1, repository.fetch(), state="suspended")])
    assert [type(error) for error in outcome.refused.values()] == [RevBehind]


def test_a_broken_clone_is_made_again(repository: Repository, tmp_path: Path) -> None:
    tip = repository.fetch()
    (tmp_path / "clone.git" / "HEAD").unlink()
    assert repository.fetch() == tip


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "a" * 25, "A" * 26, "01k\nM 100644 inline x", ""])
def test_an_id_that_is_not_ours_never_becomes_a_path(hostile: str) -> None:
    with pytest.raises(Invalid):
        manifests.path("local", hostile)


class Racing(Repository):
    """A repository where somebody else pushes between our fetch and our push, twice."""

    def __init__(self, remote: Path, tmp_path: Path) -> None:
        super().__init__(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "racing.git"))
        self._remote = remote
        self.rejected = 0

    def push(self, sha: str) -> None:
        if self.rejected < 2:
            remotes.commit(self._remote, {"ops.md": str(self.rejected).encode()}, "ops were here")
        try:
            super().push(sha)
        except PushRejected:
            self.rejected += 1
            raise


@pytest.mark.parametrize("lock", ["refs/heads/main.lock", "packed-refs.lock", "config.lock"])
def test_a_writer_that_was_killed_while_git_held_a_lock_does_not_stop_the_next(
    repository: Repository, remote: Path, tmp_path: Path, lock: str
) -> None:
    commits.write(repository, [provision(repository.fetch())])
    remotes.commit(remote, {"notes.md": b"ops were here\n"}, "ops")
    (tmp_path / "clone.git" / lock).touch()
    commits.write(repository, [provision(repository.fetch())])
    assert len(job_ids(remote)) == 2
