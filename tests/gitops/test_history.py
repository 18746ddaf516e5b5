"""What commits did to files, as plain git made them."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.gitops import history
from controller.gitops.repository import Commit, Repository
from tests.gitops import remotes


def touched(repository: Repository, base: str) -> list[list[tuple[str, bool, bool]]]:
    """For each commit since ``base``: path, whether the file was there before, and after."""
    past = history.since(repository, base, repository.fetch())
    found = history.touched(repository, [one.sha for one in past])
    return [[(file.path, file.before is not None, file.after is not None) for file in found[one.sha]] for one in past]


def test_each_commit_is_told_with_its_author_and_files(repository: Repository, remote: Path) -> None:
    base = repository.fetch()
    remotes.commit(remote, {"a.yaml": b"1\n", "b.yaml": b"1\n"}, "one")
    last = remotes.commit(remote, {"a.yaml": b"2\n"}, "two\n\nJob-Id: x\n")
    past = history.since(repository, base, repository.fetch())
    assert [(one.author, one.job_ids) for one in past] == [("ops@example.com", ()), ("ops@example.com", ("x",))]
    assert past[-1].sha == last
    assert touched(repository, base) == [[("a.yaml", False, True), ("b.yaml", False, True)], [("a.yaml", True, True)]]


def test_a_merge_shows_only_what_is_new_in_it(repository: Repository, remote: Path, tmp_path: Path) -> None:
    base = repository.fetch()
    clone = tmp_path / "ops"
    remotes.git(tmp_path, "clone", "--quiet", str(remote), str(clone))
    (clone / "mine.yaml").write_text("1\n")
    remotes.git(clone, "add", "mine.yaml")
    remotes.git(clone, "commit", "--quiet", "-m", "mine")
    remotes.commit(remote, {"theirs.yaml": b"1\n"}, "theirs")
    remotes.git(clone, "pull", "--quiet", "--no-rebase", "--no-edit")
    remotes.git(clone, "push", "--quiet")
    assert sorted(touched(repository, base)) == [[], [("mine.yaml", False, True)], [("theirs.yaml", False, True)]]


@pytest.mark.parametrize("name", ["plain.yaml", "a b.yaml", 'say "hi".yaml', "é\\.yaml", "two\nlines.yaml"])
def test_a_file_is_taken_away_whatever_its_name(
    repository: Repository, remote: Path, tmp_path: Path, name: str
) -> None:
    clone = tmp_path / "ops"
    remotes.git(tmp_path, "clone", "--quiet", str(remote), str(clone))
    (clone / name).write_text("1\n")
    remotes.git(clone, "add", ".")
    remotes.git(clone, "commit", "--quiet", "-m", "mine")
    remotes.git(clone, "push", "--quiet")
    base = repository.fetch()
    repository.push(repository.chain(base, [Commit({name: None}, "gone")])[0])
    assert touched(repository, base) == [[(name, True, False)]]


def test_a_rewritten_main_is_no_descendant(repository: Repository, remote: Path) -> None:
    base = repository.fetch()
    tip = remotes.commit(remote, {"a.yaml": b"1\n"}, "one")
    assert repository.fetch() == tip
    assert history.is_ancestor(repository, base, tip)
    assert not history.is_ancestor(repository, tip, base)
    assert not history.is_ancestor(repository, "1" * 40, tip)


def test_a_files_versions_come_newest_first(repository: Repository, remote: Path) -> None:
    for number in (b"1\n", b"2\n", b"3\n"):
        remotes.commit(remote, {"a.yaml": number}, "more")
    entries = list(history.versions(repository, repository.fetch(), "a.yaml", 2))
    contents = repository.contents([entry.blob for entry in entries])
    assert [contents[entry.blob] for entry in entries] == [b"3\n", b"2\n"]


def test_what_was_done_between_two_commits_is_told_oldest_first(repository: Repository, remote: Path) -> None:
    base = repository.fetch()
    shas = [remotes.commit(remote, {path: b"1\n"}, "one") for path in ("a.yaml", "ops é.md")]
    shas.append(repository.chain(repository.fetch(), [Commit({}, "nothing")])[0])
    found = history.between(repository, base, shas[-1])
    assert list(found) == shas
    assert [[file.path for file in files] for files in found.values()] == [["a.yaml"], ["ops é.md"], []]
