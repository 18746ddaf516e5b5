"""Batches under bad luck: two writers, lost replies, hooks and files of the wrong kind harm only whom they must."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from controller.gitops import commits, manifests
from controller.gitops.commits import FileBroken, Intent, Outcome
from controller.gitops.repository import BranchClosed, GitSettings, PushRefused, RemoteAway, Repository
from tests.gitops import remotes
from tests.gitops.test_commits import follow, job_ids, provision, spec


def another(remote: Path, folder: Path) -> Repository:
    """A second process's repository on the same remote."""
    return Repository(GitSettings(git_remote=str(remote), git_clone_dir=folder / "another.git"))


class Deaf(Repository):
    """A repository whose first push arrives and whose answer is lost."""

    heard = False

    def push(self, sha: str) -> None:
        super().push(sha)
        if not self.heard:
            self.heard = True
            raise RemoteAway("git_remote_away")


class Leaving(Repository):
    """A repository whose remote is gone once it has taken a push."""

    gone = False

    def fetch(self) -> str:
        if self.gone:
            raise RemoteAway("git_remote_away")
        return super().fetch()

    def push(self, sha: str) -> None:
        if self.gone:
            raise RemoteAway("git_remote_away")
        super().push(sha)
        self.gone = True


class Counting(Repository):
    """A repository that counts how often its remote was asked where ``main`` is."""

    fetches = 0

    def fetch(self) -> str:
        self.fetches += 1
        return super().fetch()


def test_an_empty_batch_makes_no_commit(repository: Repository, remote: Path) -> None:
    outcome = commits.write(repository, [])
    assert (outcome.landed, outcome.refused, job_ids(remote)) == ({}, {}, [])


def test_batch_after_batch_the_remote_is_asked_by_the_push_alone(remote: Path, tmp_path: Path) -> None:
    counting = Counting(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "counting.git"))
    batches = [[provision(counting.tip())] for _ in range(3)]
    for batch in batches:
        commits.write(counting, batch)
    assert (job_ids(remote), counting.fetches) == ([batch[0].job_id for batch in batches], 1)
    remotes.commit(remote, {"ops.md": b"1"}, "ops were here")
    commits.write(counting, [provision(counting.tip())])
    assert (len(job_ids(remote)), counting.fetches) == (4, 2)


def test_fifty_jobs_in_one_push_are_fifty_chained_commits_with_their_trailers(
    repository: Repository, remote: Path
) -> None:
    tip = repository.fetch()
    batch = [provision(tip, cause=f"evt_{number}") for number in range(50)]
    outcome = commits.write(repository, batch)
    assert remotes.git(remote, "rev-list", "--reverse", f"{tip}..main").split() == list(outcome.landed.values())
    keys = ("Job-Id", "Box", "Customer", "Action", "Actor", "Stripe-Event")
    form = "%x2C".join(f"%(trailers:key={key},valueonly,separator=)" for key in keys)
    told = remotes.git(remote, "log", "--reverse", f"--format={form}", f"{tip}..main").splitlines()
    assert told == [f"{i.job_id},{i.box_id},{i.customer_id},provision,stripe,{i.cause}" for i in batch]


def test_two_writers_at_once_land_every_job_once(repository: Repository, remote: Path, tmp_path: Path) -> None:
    tip = repository.fetch()
    second = another(remote, tmp_path)
    batches = {repository: [[provision(tip)] for _ in range(6)], second: [[provision(tip)] for _ in range(6)]}
    threads = [threading.Thread(target=write_all, args=pair) for pair in batches.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(job_ids(remote)) == sorted(one.job_id for made in batches.values() for (one,) in made)
    assert remotes.git(remote, "rev-list", "--merges", "--count", "main") == "0"


def test_a_job_of_two_writers_lands_once(repository: Repository, remote: Path, tmp_path: Path) -> None:
    intent = provision(repository.fetch())
    first = commits.write(repository, [intent])
    assert commits.write(another(remote, tmp_path), [intent]).landed == first.landed
    assert job_ids(remote) == [intent.job_id]


def test_a_push_whose_reply_was_lost_is_recognised(remote: Path, tmp_path: Path) -> None:
    deaf = Deaf(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "deaf.git"))
    batch = [provision(deaf.fetch()) for _ in range(3)]
    try:
        commits.write(deaf, batch)
    except RemoteAway:
        remotes.commit(remote, {"ops.md": b"1"}, "ops were here")
    outcome = commits.write(deaf, batch)
    assert job_ids(remote) == [intent.job_id for intent in batch]
    assert sorted(outcome.landed) == sorted(job_ids(remote))


def test_what_ops_changed_meanwhile_stays(repository: Repository, remote: Path, tmp_path: Path) -> None:
    first = provision(repository.fetch())
    commits.write(repository, [first])
    other = another(remote, tmp_path)
    content = other.read(other.fetch(), [first.path])[first.path]
    remotes.commit(remote, {first.path: content.replace(b"overrides: {}", b"overrides: {volume_gib: 30}")}, "bigger")
    commits.write(repository, [follow(first, "suspend", 2, first.base_sha, state="suspended")])
    read = manifests.read(repository.read(repository.fetch(), [first.path])[first.path])
    assert (read.spec.state, read.overrides.volume_gib) == ("suspended", 30)


def test_a_job_that_a_hook_refuses_blocks_no_other(repository: Repository, remote: Path) -> None:
    batch = [provision(repository.fetch()) for _ in range(7)]
    remotes.refuse_pushes_touching(remote, batch[3].box_id)
    outcome = commits.write(repository, batch)
    good = sorted(intent.job_id for intent in batch if intent is not batch[3])
    assert (sorted(outcome.landed), sorted(job_ids(remote))) == (good, good)
    assert refusals(outcome) == {batch[3].job_id: PushRefused}


@pytest.mark.parametrize("sentence", ["GH013: Repository rule violations found", "frozen since $$", ""])
@pytest.mark.parametrize("count", [2, 20])
def test_a_remote_that_refuses_everything_is_no_jobs_fault(
    repository: Repository, remote: Path, sentence: str, count: int
) -> None:
    batch = [provision(repository.fetch()) for _ in range(count)]
    remotes.refuse_every_push(remote, sentence)
    with pytest.raises(BranchClosed, match="git_everything_refused"):
        commits.write(repository, batch)
    assert remotes.pushes(remote) <= 1 + commits.SAMPLE
    remotes.accept_pushes(remote)
    assert list(commits.write(repository, batch).landed) == job_ids(remote) == [intent.job_id for intent in batch]


def test_a_hook_that_names_each_box_it_refuses_blames_the_jobs(repository: Repository, remote: Path) -> None:
    batch = [provision(repository.fetch()) for _ in range(3)]
    remotes.refuse_every_push(remote, "no: $(git log --format=%s $old..$new | head -1)")
    assert set(commits.write(repository, batch).refused) == {intent.job_id for intent in batch}


def test_jobs_that_a_hook_refuses_in_the_same_words_are_told_once_another_lands(
    repository: Repository, remote: Path
) -> None:
    tip = repository.fetch()
    bad, good = [provision(tip, fields=spec(niche="dental")) for _ in range(2)], provision(tip)
    remotes.refuse_pushes_touching(remote, "dental")
    with pytest.raises(BranchClosed):
        commits.write(repository, bad)
    outcome = commits.write(repository, [*bad, good])
    assert (list(outcome.landed), set(outcome.refused)) == ([good.job_id], {intent.job_id for intent in bad})


def test_jobs_of_one_box_prove_nothing_about_the_remote(repository: Repository, remote: Path) -> None:
    first = provision(repository.fetch())
    remotes.refuse_every_push(remote, "no")
    outcome = commits.write(repository, [first, follow(first, "suspend", 2, first.base_sha, state="suspended")])
    assert list(outcome.refused) == [first.job_id]


def test_a_refused_job_has_the_hooks_words_without_its_colours(repository: Repository, remote: Path) -> None:
    intent = provision(repository.fetch())
    remotes.refuse_every_push(remote, r"\033[31mnot today\033[0m")
    refused = commits.write(repository, [intent]).refused[intent.job_id]
    assert str(refused) == "git_push_refused (reason=not today)"


@pytest.mark.parametrize(
    "sentence",
    [
        "error: GH006: Protected branch update failed for refs/heads/main.",
        "GitLab: You are not allowed to push code to protected branches on this project.",
        "GitLab: You are not allowed to push code to this project.",
    ],
)
def test_a_branch_that_is_closed_to_us_is_no_jobs_fault(repository: Repository, remote: Path, sentence: str) -> None:
    batch = [provision(repository.fetch()) for _ in range(3)]
    remotes.refuse_every_push(remote, sentence)
    with pytest.raises(BranchClosed):
        commits.write(repository, batch)
    remotes.accept_pushes(remote)
    assert list(commits.write(repository, batch).landed) == job_ids(remote) == [intent.job_id for intent in batch]


def test_what_follows_a_refused_job_of_its_box_waits(repository: Repository, remote: Path) -> None:
    first = provision(repository.fetch())
    commits.write(repository, [first])
    remotes.refuse_pushes_touching(remote, "plan: .starter.")
    bad = follow(first, "resize", 2, first.base_sha, plan="starter")
    others = [provision(first.base_sha) for _ in range(4)]
    last = follow(first, "suspend", 3, first.base_sha, state="suspended")
    outcome = commits.write(repository, [bad, *others, last])
    assert (set(outcome.landed), list(outcome.refused)) == ({one.job_id for one in others}, [bad.job_id])
    assert list(commits.write(repository, [last]).landed) == [last.job_id]


@pytest.mark.parametrize(("rev", "plan"), [(2, "golden"), (1, "starter")])
def test_what_follows_a_job_that_cannot_be_built_waits(repository: Repository, rev: int, plan: str) -> None:
    first = provision(repository.fetch())
    commits.write(repository, [first])
    bad = follow(first, "resize", rev, first.base_sha, plan=plan)
    last = follow(first, "suspend", 3, first.base_sha, state="suspended")
    outcome = commits.write(repository, [bad, last])
    assert (outcome.landed, list(outcome.refused)) == ({}, [bad.job_id])


def test_what_follows_on_a_file_that_is_a_link_waits(repository: Repository, remote: Path) -> None:
    bad = provision(repository.fetch())
    link(remote, bad.path)
    last = follow(bad, "suspend", 2, bad.base_sha, state="suspended")
    assert list(commits.write(repository, [bad, last]).refused) == [bad.job_id]


def test_what_was_done_before_the_remote_went_away_is_told(remote: Path, tmp_path: Path) -> None:
    leaving = Leaving(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "leaving.git"))
    batch = [provision(leaving.fetch()) for _ in range(4)]
    remotes.refuse_pushes_touching(remote, batch[3].box_id)
    outcome = commits.write(leaving, batch)
    assert (list(outcome.landed), len(outcome.landed)) == (job_ids(remote), 1)
    assert set(outcome.refused) <= {batch[3].job_id}
    assert isinstance(outcome.trouble, RemoteAway)


def test_a_box_whose_file_is_a_link_blocks_no_other(repository: Repository, remote: Path) -> None:
    bad, good = provision(repository.fetch()), provision(repository.fetch())
    link(remote, bad.path)
    outcome = commits.write(repository, [bad, good])
    assert (list(outcome.landed), list(outcome.refused)) == ([good.job_id], [bad.job_id])
    assert isinstance(outcome.refused[bad.job_id], FileBroken)


def test_a_box_whose_file_is_no_yaml_blocks_no_other(repository: Repository, remote: Path) -> None:
    bad, good = provision(repository.fetch()), provision(repository.fetch())
    remotes.commit(remote, {bad.path: b"rev: 2026-13-45"}, "ops slipped")
    outcome = commits.write(repository, [bad, good])
    assert (list(outcome.landed), list(outcome.refused)) == ([good.job_id], [bad.job_id])


def write_all(repository: Repository, batches: list[list[Intent]]) -> None:
    for batch in batches:
        commits.write(repository, batch)


def refusals(outcome: Outcome) -> dict[str, type[Exception]]:
    return {job_id: type(error) for job_id, error in outcome.refused.items()}


def link(remote: Path, path: str) -> None:
    """Commit a symbolic link at ``path``."""
    head = (
        "commit refs/heads/main\ncommitter ops <ops@example.com> 1790000000 +0000\ndata 1\nx\nfrom refs/heads/main^0\n"
    )
    stream = f"{head}M 120000 inline {path}\ndata 6\n/etc/x\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=remote, input=stream.encode(), check=True)
