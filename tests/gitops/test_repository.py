"""Git as it fails: a clone that broke, a hook that says no, a remote that is gone, a file that is none."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.core.errors import Permanent
from controller.gitops.repository import (
    Commit,
    GitSettings,
    PushRefused,
    PushRejected,
    RemoteAway,
    Repository,
    RepositoryBroken,
)
from tests.gitops import remotes


def one(name: str = "a.yaml", content: bytes = b"a: 1\n") -> Commit:
    return Commit({name: content}, "change\n\nJob-Id: 1\n")


def truncate_packs(clone: Path) -> None:
    for pack in clone.glob("objects/pack/*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:20])


def drop_objects(clone: Path) -> None:
    for found in clone.rglob("objects/*/*"):
        found.unlink()


def point_main_nowhere(clone: Path) -> None:
    (clone / "packed-refs").write_text(f"{'1' * 40} refs/heads/main\n")


def leave_a_lock(clone: Path) -> None:
    (clone / "refs" / "heads" / "main.lock").write_text("")


def empty_config(clone: Path) -> None:
    (clone / "config").write_text("")


def scramble_config(clone: Path) -> None:
    (clone / "config").write_text("[core\n")


def scramble_head(clone: Path) -> None:
    (clone / "HEAD").write_text("garbage")


Harm = Callable[[Path], None]
HARMS: list[Harm] = [
    truncate_packs, drop_objects, point_main_nowhere, leave_a_lock, empty_config, scramble_config,
    scramble_head, lambda clone: (clone / "HEAD").unlink(),
]  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_a_broken_clone_is_made_again_by_the_second_call_at_the_latest(
    repository: Repository, remote: Path, tmp_path: Path, harm: Harm
) -> None:
    repository.fetch()
    harm(tmp_path / "clone.git")
    tip = remotes.commit(remote, {"b.yaml": b"b: 1\n"}, "ops")
    try:
        assert repository.fetch() == tip
    except RepositoryBroken:
        assert repository.fetch() == tip
    assert repository.read(tip, ["b.yaml"]) == {"b.yaml": b"b: 1\n"}


def test_a_clone_that_breaks_between_fetch_and_build_is_dropped(repository: Repository, tmp_path: Path) -> None:
    tip = repository.fetch()
    drop_objects(tmp_path / "clone.git")
    with pytest.raises(RepositoryBroken):
        repository.chain(tip, [one()])
    assert repository.chain(repository.fetch(), [one()])


def test_a_hook_that_says_no_is_a_refusal_and_changes_nothing(repository: Repository, remote: Path) -> None:
    remotes.refuse_pushes_touching(remote, "a: 1")
    tip = repository.fetch()
    with pytest.raises(PushRefused):
        repository.push(repository.chain(tip, [one()])[0])
    assert repository.fetch() == tip


def test_a_moved_main_is_a_rejection(repository: Repository, remote: Path) -> None:
    (sha,) = repository.chain(repository.fetch(), [one()])
    remotes.commit(remote, {"b.yaml": b"b: 1\n"}, "ops")
    with pytest.raises(PushRejected):
        repository.push(sha)


def test_a_remote_that_is_gone_is_temporary_for_every_verb(repository: Repository, remote: Path) -> None:
    (sha,) = repository.chain(repository.fetch(), [one()])
    remote.rename(remote.with_name("moved.git"))
    for ask in (repository.fetch, lambda: repository.push(sha)):
        with pytest.raises(RemoteAway):
            ask()
    remote.with_name("moved.git").rename(remote)
    repository.push(sha)
    assert repository.fetch() == sha


def test_a_remote_that_never_was_there_is_temporary(tmp_path: Path) -> None:
    settings = GitSettings(git_remote=str(tmp_path / "none.git"), git_clone_dir=tmp_path / "clone.git")
    with pytest.raises(RemoteAway):
        Repository(settings).fetch()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mode", "kind"), [("120000", "symlink"), ("100755", "program"), ("160000", "submodule")])
def test_what_is_not_a_plain_file_is_refused(repository: Repository, remote: Path, mode: str, kind: str) -> None:
    special(remote, mode, kind)
    tip = repository.fetch()
    with pytest.raises(Permanent) as caught:
        repository.read(tip, [kind])
    assert caught.value.facts == {"path": kind, "mode": mode}


def test_reading_gives_what_is_there_and_leaves_out_the_rest(repository: Repository, remote: Path) -> None:
    files = {"a/b.yaml": b"", "c.yaml": b"no end of line", "d.yaml": b"\0\xff\nblob 3\n"}
    tip = remotes.commit(remote, files, "ops")
    repository.fetch()
    assert repository.read(tip, [*files, "none.yaml", *files]) == files
    assert repository.read(tip, []) == {}


@pytest.mark.parametrize("value", [b"\xff\xfe", "a\u2028".encode(), b"a\x0b\x0c", b"a\n\n b"], ids=str)
def test_a_trailer_of_any_form_hides_no_other(repository: Repository, remote: Path, value: bytes) -> None:
    base = repository.fetch()
    told = b"ops\n\nJob-Id: " + value + b"\n"
    head = b"commit refs/heads/main\ncommitter ops <ops@example.com> 1790000000 +0000\n"
    stream = head + b"data %d\n%sfrom refs/heads/main^0\n" % (len(told), told)
    subprocess.run(["git", "fast-import", "--quiet"], cwd=remote, input=stream, check=True)
    repository.push(repository.chain(repository.fetch(), [one()])[0])
    assert "1" in repository.trailers(base, repository.fetch(), "Job-Id")


def test_an_empty_chain_makes_nothing(repository: Repository) -> None:
    assert repository.chain(repository.fetch(), []) == []


def test_a_chain_stands_on_the_tip_and_moves_no_branch(repository: Repository, remote: Path) -> None:
    tip = repository.fetch()
    shas = repository.chain(tip, [one(content=b"1"), one("b.yaml"), one(content=b"2")])
    assert repository.fetch() == tip
    repository.push(shas[-1])
    assert remotes.git(remote, "rev-list", "--reverse", f"{tip}..main").split() == shas


def special(remote: Path, mode: str, name: str) -> None:
    """Commit a thing of ``mode`` to ``main``."""
    blob = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=remote, input=b"target", capture_output=True, check=True
    )
    thing = remotes.git(remote, "rev-parse", "main") if mode == "160000" else blob.stdout.decode().strip()
    head = b"commit refs/heads/main\ncommitter ops <ops@example.com> 1790000000 +0000\ndata 1\nx\nfrom main^0\n"
    stream = head.replace(b"main^0", b"refs/heads/main^0") + f"M {mode} {thing} {name}\n".encode()
    subprocess.run(["git", "fast-import", "--quiet"], cwd=remote, input=stream, check=True)
