"""The clone in the long run: its packs stay few, and what broke silently is found and made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.gitops.remotes import GitSettings
from controller.gitops.repository import Commit, RemoteAway, Repository
from tests.gitops import remotes

BATCH = 50


@pytest.fixture
def repository(remote: Path, tmp_path: Path) -> Repository:
    """A writer's repository that merges its packs soon."""
    return Repository(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "clone.git", git_most_packs=4))


def push(repository: Repository, number: int, jobs: int = BATCH) -> str:
    made = [Commit({f"{job}/a.yaml": f"{number}.{job}\n".encode()}, f"Job-Id: {number}.{job}\n") for job in range(jobs)]
    sha = repository.chain(repository.fetch(), made)[-1]
    repository.push(sha)
    return sha


def packs(clone: Path) -> int:
    return len(list(clone.glob("objects/pack/*.pack")))


def loose(clone: Path) -> int:
    return len(list(clone.glob("objects/[0-9a-f][0-9a-f]/*")))


def test_packs_stay_few_and_all_that_was_written_can_be_read(repository: Repository, tmp_path: Path) -> None:
    most = 0
    for number in range(12):
        tip = push(repository, number)
        repository.tidy()
        repository.settle()
        most = max(most, packs(tmp_path / "clone.git"))
    assert 2 <= most <= 4
    paths = [f"{job}/a.yaml" for job in range(BATCH)]
    assert repository.read(tip, paths) == {path: f"11.{job}\n".encode() for job, path in enumerate(paths)}
    assert remotes.git(tmp_path / "clone.git", "fsck", "--no-dangling") == ""


def test_nobody_waits_for_a_merge_and_what_is_written_meanwhile_stays(repository: Repository, tmp_path: Path) -> None:
    for number in range(24):
        tip = push(repository, number)
        repository.tidy()
    repository.settle()
    assert repository.read(tip, ["0/a.yaml"]) == {"0/a.yaml": b"23.0\n"}
    assert remotes.git(tmp_path / "clone.git", "fsck", "--no-dangling") == ""


def test_loose_objects_are_packed_too(repository: Repository, tmp_path: Path) -> None:
    for number in range(20):
        push(repository, number, jobs=10)
        repository.tidy()
        repository.settle()
    assert loose(tmp_path / "clone.git") < 500
    assert packs(tmp_path / "clone.git") >= 1


def test_what_a_killed_merge_left_goes(repository: Repository, tmp_path: Path) -> None:
    for number in range(5):
        push(repository, number)
    left = tmp_path / "clone.git" / "objects" / "pack" / "tmp_pack_x"
    left.write_bytes(b"half a pack")
    repository.tidy()
    assert not left.exists()


def test_a_clone_that_cannot_be_tidied_is_made_again(repository: Repository, remote: Path, tmp_path: Path) -> None:
    for number in range(6):
        push(repository, number)
    spoil_packs(tmp_path / "clone.git")
    for _ in range(2):  # the second finds what became of the first
        repository.tidy()
        repository.settle()
    assert repository.fetch() == remotes.git(remote, "rev-parse", "main")


def test_an_object_that_went_bad_between_build_and_push_costs_one_round(
    repository: Repository, remote: Path, tmp_path: Path
) -> None:
    (sha,) = repository.chain(repository.fetch(), [Commit({"a.yaml": b"a: 1\n"}, "Job-Id: 1\n")])
    blob = remotes.git(tmp_path / "clone.git", "rev-parse", f"{sha}:a.yaml")
    (tmp_path / "clone.git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(RemoteAway):
        repository.push(sha)
    assert push(repository, 1) == remotes.git(remote, "rev-parse", "main")


def test_a_clone_that_went_bad_while_nobody_ran_is_made_again_at_the_first_fetch(
    repository: Repository, remote: Path, tmp_path: Path
) -> None:
    remotes.commit(remote, {f"{number}.yaml": f"{number}".encode() for number in range(200)}, "many")
    repository.fetch()
    spoil_packs(tmp_path / "clone.git")
    again = Repository(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "clone.git"))
    assert again.read(again.fetch(), ["150.yaml"]) == {"150.yaml": b"150"}
    assert remotes.git(tmp_path / "clone.git", "fsck") == ""


def test_a_clone_that_is_whole_is_kept(repository: Repository, remote: Path, tmp_path: Path) -> None:
    repository.fetch()
    mark = tmp_path / "clone.git" / "kept"
    mark.touch()
    Repository(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "clone.git")).fetch()
    assert mark.exists()


def spoil_packs(clone: Path) -> None:
    """Turn a byte in the middle of each pack."""
    for pack in clone.glob("objects/pack/*.pack"):
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 0xFF
        pack.chmod(0o600)
        pack.write_bytes(content)
