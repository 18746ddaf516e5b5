"""A file leaves Git by one verb alone, and only when Git itself has called the box destroyed for long enough."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.core import clock
from controller.domain.retirements import SINCE
from controller.gitops import commits, retirements
from controller.gitops.commits import FileBroken, Intent, Outcome
from controller.gitops.repository import Repository
from tests.gitops import remotes
from tests.gitops.test_commits import follow, provision, spec

WEEK = timedelta(days=7)


def lived(repository: Repository, *last: str) -> tuple[Intent, str]:
    """A box that went through its life up to ``destroyed``, or to the state in ``last``; and its newest commit."""
    first = provision(repository.fetch())
    steps: list[dict[str, Any]] = [
        {"state": "condemned"}, {"deletion": "approved"}, {"state": "destroyed"},
    ]  # fmt: skip
    made = [first]
    for rev, fields in enumerate(steps[: len(steps) - len(last)], 2):
        made.append(follow(first, "x", rev, first.base_sha, **fields))
    outcome = commits.write(repository, made)
    return made[-1], outcome.landed[made[-1].job_id]


def retire(repository: Repository, intent: Intent, since: object, after: timedelta = timedelta(0)) -> Outcome:
    made = follow(intent, "retire", intent.rev + 1, repository.fetch())
    return commits.write(repository, [replace(made, fields={"rev": made.rev, SINCE: since}, retire_after=after)])


def files(remote: Path) -> list[str]:
    return [name for name in remotes.git(remote, "ls-tree", "-r", "--name-only", "main").split() if "boxes/" in name]


def test_the_file_of_a_destroyed_box_leaves_git_by_a_commit_of_its_own(repository: Repository, remote: Path) -> None:
    (intent, since), (other, _) = lived(repository), lived(repository)
    assert len(retire(repository, intent, since).landed) == 1
    assert files(remote) == [other.path]
    shown = remotes.git(remote, "log", "-1", "--format=%s %(trailers:key=Action,valueonly)", "main")
    assert shown == f"box({intent.box_id}): retire at rev 5 retire"
    assert retirements.removed(repository, repository.fetch()) == {intent.path}


def test_the_file_of_a_standby_that_ended_leaves_git_and_names_nobody(repository: Repository, remote: Path) -> None:
    tip = repository.fetch()
    first = provision(tip, verb="prepare", customer_id=None, fields=spec(state="standby"))
    steps = [{"state": "condemned"}, {"deletion": "approved"}, {"state": "destroyed"}]
    made = [first, *(follow(first, "x", rev, tip, **fields) for rev, fields in enumerate(steps, 2))]
    since = commits.write(repository, made).landed[made[-1].job_id]
    assert len(retire(repository, made[-1], since).landed) == 1
    assert (files(remote), remotes.git(remote, "log", "-1", "--format=%(trailers:key=Customer)", "main")) == ([], "")


def test_a_week_has_to_pass_by_the_time_of_the_commit(repository: Repository) -> None:
    intent, since = lived(repository)
    [early] = retire(repository, intent, since, WEEK).refused.values()
    assert early.facts["rule"] == "retire-age"
    with clock.frozen(clock.now() + WEEK + timedelta(minutes=1)):
        assert retire(repository, intent, since, WEEK).refused == {}


def test_a_box_that_is_not_destroyed_keeps_its_file(repository: Repository, remote: Path) -> None:
    intent, since = lived(repository, "approved")
    [refused] = retire(repository, intent, since).refused.values()
    assert (refused.facts["rule"], files(remote)) == ("retire-state", [intent.path])


@pytest.mark.parametrize("since", [None, "", "HEAD", "0" * 40, "--all", 7], ids=repr)
def test_a_commit_that_main_does_not_have_proves_nothing(repository: Repository, since: object) -> None:
    intent, _ = lived(repository)
    [refused] = retire(repository, intent, since).refused.values()
    assert refused.facts["rule"] == "retire-history"


def test_since_when_is_asked_of_the_file_itself(repository: Repository) -> None:
    intent, since = lived(repository)
    before = remotes.git(Path(repository._settings.git_remote), "rev-parse", f"{since}~1")
    [refused] = retire(repository, intent, before).refused.values()
    assert refused.facts["rule"] == "retire-state"


def test_a_file_that_is_gone_already_is_looked_for_again(repository: Repository) -> None:
    intent, since = lived(repository)
    retire(repository, intent, since)
    [refused] = retire(repository, intent, since).refused.values()
    assert isinstance(refused, FileBroken)
