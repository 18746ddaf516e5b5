"""No job takes a box's file where no box may go, and no commit touches more than its own box's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.domain.jobs import ApprovalNeeded
from controller.gitops import commits, guards, manifests
from controller.gitops.commits import Intent
from controller.gitops.guards import GuardBreached
from controller.gitops.history import Entry, Touched
from controller.gitops.manifests import Manifest
from controller.gitops.repository import Commit, GitSettings, Repository
from tests.gitops import remotes
from tests.gitops.test_commits import follow, job_ids, provision, spec

BOX, CUSTOMER = "01hzy3v7q8r9s0t1w2v3w4x5y6", "01hzy3v7q8r9s0t1w2v3w4x5y7"
PATH = manifests.path("local", BOX)
ENDING = {"state": "condemned", "deletion": "approved"}


def made(*, overrides: dict[str, int] | None = None, **changed: Any) -> Manifest:
    metadata = {"id": BOX} if changed.get("state") == "standby" else {"id": BOX, "customer": CUSTOMER}
    return Manifest.model_validate({"metadata": metadata, "spec": spec(**changed), "overrides": overrides or {}})


def change(path: str, *modes: str) -> Touched:
    """What a commit did to a file: its mode before and after, 000000 where it is not there."""
    before, after = (None if mode == "000000" else Entry(mode, "a" * 40) for mode in modes)
    return Touched(path, before, after)


def step(before: dict[str, Any], after: dict[str, Any], approved: Sequence[str] = (), **may: bool) -> str | None:
    """What the guards say to a step from one spec to another at the next rev: the broken rule or None."""
    try:
        guards.check(made(**before), made(**{"rev": 2, **before, **after}), approved, **may)
    except GuardBreached as error:
        return str(error.facts["rule"])
    except ApprovalNeeded as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({}, {"rev": 9}),
        ({}, {"state": "suspended"}),
        ({"state": "standby"}, {"state": "active"}),
        ({"state": "suspended"}, {"state": "active", "plan": "team", "volume_gib": 20}),
        ({"state": "suspended"}, {"state": "condemned"}),
        ({"state": "condemned"}, {"deletion": "approved"}),
        ({"state": "condemned"}, {"state": "active", "secrets": {"agent": 2, "telegram": 1, "proxy": 2}}),
        (ENDING, {"state": "destroyed"}),
        ({"volume_gib": 20}, {"plan": "starter"}),
        ({"plan": "starter", "volume_gib": 5}, {"plan": "pro", "volume_gib": 10}),
        ({"volume_gib": 5}, {"state": "suspended"}),  # ops once left it smaller than the plan's
        ({"volume_gib": 5, **ENDING}, {"state": "destroyed"}),
        ({"overrides": {"volume_gib": 30}}, {"plan": "team", "volume_gib": 20}),
        ({"overrides": {"cpu_limit_milli": 300}}, {"state": "suspended"}),  # and its pod cannot start
        ({"overrides": {"cpu_limit_milli": 800}}, {"plan": "starter"}),
    ],
    ids=str,
)
def test_a_step_of_the_lifecycle_is_let_through(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert step(before, after) is None


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ({"rev": 7}, {"rev": 7}, "rev"),
        ({"rev": 7}, {"rev": 6, "state": "suspended"}, "rev"),
        ({}, {"state": "standby"}, "state"),
        ({}, {"state": "destroyed"}, "state"),
        ({"state": "condemned"}, {"state": "destroyed"}, "state"),
        ({"state": "destroyed", "deletion": "approved"}, {"state": "active"}, "state"),
        (ENDING, {"state": "active"}, "state"),
        ({}, {"deletion": "approved"}, "deletion"),
        ({"state": "suspended"}, ENDING, "deletion"),
        (ENDING, {"state": "destroyed", "deletion": "held"}, "deletion"),
        ({}, {"release": "2026.12.1"}, "release"),
        ({"snapshot": {"release": "2026.11.1", "rev": 2}}, {"snapshot": None}, "snapshot"),
        ({"volume_gib": 20}, {"volume_gib": 10}, "volume"),
        ({"overrides": {"volume_gib": 30}}, {"overrides": {}}, "volume"),
        ({"overrides": {"cpu_limit_milli": 800}}, {"plan": "team", "volume_gib": 20}, "resources"),
        ({"overrides": {"memory_limit_mib": 1400}}, {"plan": "team", "volume_gib": 20}, "resources"),
        ({}, {"plan": "team"}, guards.BELOW_PLAN),
        ({"plan": "starter", "volume_gib": 5}, {"plan": "pro", "volume_gib": 9}, guards.BELOW_PLAN),
    ],
    ids=str,
)
def test_a_step_that_no_box_may_take_is_named(before: dict[str, Any], after: dict[str, Any], rule: str) -> None:
    assert step(before, after) == rule


def owned(customer: str | None, **changed: Any) -> Manifest:
    metadata = {"id": BOX} if customer is None else {"id": BOX, "customer": customer}
    return Manifest.model_validate({"metadata": metadata, "spec": spec(**changed)})


TAKEN, FIRST = {"release": "2026.11.1", "rev": 2}, {"rev": 0}
SECOND = {"rev": 5, "snapshot": TAKEN}
OTHER = {"rev": 5, "snapshot": {"release": "2026.11.1", "rev": 3}}
RESTORED = {"used": SECOND, "kept": FIRST}


def moved(before: dict[str, Any] | None, after: dict[str, Any] | None, **more: Any) -> str | None:
    """What the guards say to a step from one set of volumes to another, from rev 4 to rev 6."""
    kept = {"snapshot": TAKEN, **more}
    return step({"rev": 4, "volumes": before, **kept}, {"rev": 6, "volumes": after})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, RESTORED),
        ({"used": FIRST, "given_up": 3}, {**RESTORED, "given_up": 3}),
        (RESTORED, {"used": SECOND, "given_up": 0}),
        ({"used": FIRST, "kept": SECOND}, {"used": FIRST, "given_up": 5}),
        (None, {"used": FIRST, "kept": SECOND}),  # people took the box back to the first, and left the other out
        ({"used": SECOND}, RESTORED),
    ],
    ids=["a restore", "one after others", "given up", "given up after a return", "kept after a return", "kept again"],
)
def test_volumes_change_by_a_restore_by_giving_the_kept_one_up_and_by_keeping_one(
    before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    assert moved(before, after) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, {"used": SECOND}),
        (None, {"used": SECOND, "given_up": 0}),
        (None, {"used": OTHER, "kept": FIRST}),
        (None, {"used": {"rev": 7, "snapshot": TAKEN}, "kept": FIRST}),
        ({"used": FIRST, "given_up": 5}, RESTORED | {"given_up": 5, "used": {"rev": 4, "snapshot": TAKEN}}),
        (RESTORED, {"used": FIRST, "kept": SECOND}),
        (RESTORED, {"used": FIRST}),
        (RESTORED, {"used": SECOND}),
        (RESTORED, {"used": FIRST, "given_up": 5}),
        (RESTORED, {"used": SECOND, "given_up": 3}),
        (RESTORED, {"used": SECOND, "kept": FIRST, "given_up": 3}),
        (RESTORED, {"used": {"rev": 6, "snapshot": TAKEN}, "kept": SECOND}),
        (RESTORED, {"used": {"rev": 6, "snapshot": TAKEN}, "kept": SECOND, "given_up": 0}),
        (RESTORED, None),
        ({"used": SECOND, "given_up": 0}, {"used": SECOND}),
        ({"used": SECOND}, {"used": SECOND, "given_up": 0}),
        ({"used": SECOND, "given_up": 0}, {"used": SECOND, "given_up": 3}),
    ],
    ids=[
        "a restore that keeps nothing", "one that gives the first up", "one from another snapshot",
        "one by a later rev", "a number that was there", "a return by a job", "the used one lost", "the kept one lost",
        "the used one given up", "another given up", "one given up and none gone", "a second restore",
        "one that gives the kept one up", "both lost", "what was given up forgotten", "what is not there given up",
        "another given up again",
    ],
)  # fmt: skip
def test_no_job_loses_a_volume_but_the_kept_one_by_its_number(
    before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    assert moved(before, after) == "volumes"


@pytest.mark.parametrize(("volume", "rule"), [(None, None), (5, None), (6, "snapshot")])
def test_a_snapshot_is_of_a_volume_that_git_knows(volume: int | None, rule: str | None) -> None:
    later = {"release": "2026.12.1", "rev": 6} | ({"volume": volume} if volume else {})
    before = {"rev": 4, "snapshot": TAKEN, "volumes": RESTORED}
    assert step(before, {"rev": 6, "snapshot": later, "release": "2026.12.1"}, may_release=True) == rule


@pytest.mark.parametrize("state", ["standby", "condemned"])
def test_a_claim_gives_nobodys_box_an_owner_whatever_ops_have_done_to_it_meanwhile(state: str) -> None:
    guards.check(owned(None, state=state), owned(CUSTOMER, state="active", rev=2))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (owned(CUSTOMER), owned(BOX, rev=2)),
        (owned(CUSTOMER, state="condemned"), owned(None, state="condemned", rev=2)),
        (owned(None, state="condemned"), owned(CUSTOMER, state="condemned", rev=2)),
        (owned(CUSTOMER, state="condemned"), owned(BOX, state="active", rev=2)),
    ],
)
def test_a_box_changes_its_owner_in_no_other_way(before: Manifest, after: Manifest) -> None:
    with pytest.raises(GuardBreached) as error:
        guards.check(before, after)
    assert error.value.facts["rule"] == "customer"


@pytest.mark.parametrize(
    ("verb", "actor", "may"),
    [
        ("upgrade", "rollout:admin", True),
        ("reactivate", "admin", True),
        ("adopt", "ops:x@y", True),
        ("suspend", "ops:x@y", True),
        ("suspend", "stripe", False),
        ("resize", "admin", False),
        ("update_connections", "admin", False),
    ],
)
def test_only_a_rollout_a_return_and_ops_change_the_release(verb: str, actor: str, may: bool) -> None:
    fields = {"rev": 2, "release": "2026.12.1"}
    job = Intent("1" * 26, BOX, CUSTOMER, "local", verb, 2, fields, actor, None, "0" * 40)
    content = manifests.create(BOX, CUSTOMER, spec())
    if may:
        assert manifests.read(commits.apply(job, content)).spec.release == "2026.12.1"
    else:
        with pytest.raises(GuardBreached):
            commits.apply(job, content)


def test_an_approval_lifts_the_rule_that_it_names_and_no_other() -> None:
    assert step({}, {"plan": "team"}, [guards.BELOW_PLAN]) is None
    assert step({}, {"plan": "team"}, ["cap_reached"]) == guards.BELOW_PLAN
    assert step({}, {"state": "destroyed"}, ["guard_breached", guards.BELOW_PLAN]) == "state"


@pytest.mark.parametrize("changed", [{"state": "suspended"}, {"state": "destroyed"}, {"deletion": "approved"}], ids=str)
def test_a_box_begins_running_and_held(changed: dict[str, Any]) -> None:
    guards.check_new(made())
    guards.check_new(made(state="standby"))
    with pytest.raises(GuardBreached):
        guards.check_new(made(**changed))


def test_a_new_box_has_the_volume_that_its_plan_is_sold_with() -> None:
    small = made(volume_gib=9)
    with pytest.raises(ApprovalNeeded):
        guards.check_new(small)
    guards.check_new(small, [guards.BELOW_PLAN])


@pytest.mark.parametrize(("asked", "wanted"), [(20, 50), (50, 50), (60, 60), ("20", "20"), (None, None)], ids=str)
def test_a_job_never_asks_for_less_than_ops_made_the_volume(asked: Any, wanted: Any) -> None:
    assert guards.grown(made(volume_gib=50), {"volume_gib": asked}) == {"volume_gib": wanted}
    assert guards.grown(made(volume_gib=50), {"state": "suspended"}) == {"state": "suspended"}


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        ([change(PATH, "100644", "100644")], None),
        ([change(PATH, "000000", "100644")], None),
        ([], "one-path"),
        ([change(PATH, "100644", "100644"), change("README.md", "100644", "100644")], "one-path"),
        ([change("README.md", "100644", "100644")], "path"),
        ([change(f'"{PATH}"', "000000", "100644")], "path"),
        ([change(manifests.path("other", BOX), "000000", "100644")], "path"),
        ([change(PATH, "100644", "000000")], "mode"),
        ([change(PATH, "100644", "100755")], "mode"),
        ([change(PATH, "100644", "120000")], "mode"),
        ([change(PATH, "120000", "100644")], "mode"),
        ([change(PATH, "000000", "160000")], "mode"),
    ],
    ids=str,
)  # fmt: skip
def test_a_commit_writes_its_own_boxs_plain_file(found: list[Touched], rule: str | None) -> None:
    breaches = guards.check_trees({"a": found}, {"a": PATH})
    assert [error.facts["rule"] for error in breaches.values()] == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("found", "allowed"),
    [
        (change(PATH, "100644", "000000"), True), (change(PATH, "100644", "100644"), False),
        (change(PATH, "120000", "000000"), False), (change("README.md", "100644", "000000"), False),
    ],
    ids=str,
)  # fmt: skip
def test_a_commit_that_retires_takes_its_own_boxs_plain_file_away(found: Touched, allowed: bool) -> None:
    assert (guards.check_trees({"a": [found]}, {"a": PATH}, {"a"}) == {}) is allowed


def test_a_path_that_is_no_boxs_is_refused_even_if_it_is_meant() -> None:
    assert guards.check_trees({"a": [change("README.md", "100644", "100644")]}, {"a": "README.md"})


def test_with_a_commit_that_nobody_built_none_may_go() -> None:
    plain = [change(PATH, "100644", "100644")]
    assert list(guards.check_trees({"a": plain, "b": plain}, {"a": PATH})) == ["a"]


class Sloppy(Repository):
    """A repository that builds other commits than it was told for one box."""

    spoiled: Intent | None = None
    extra: dict[str, bytes] | None = None
    """What that commit writes beside its file; None: it writes nothing at all."""

    def chain(self, tip: str, commits: Sequence[Commit]) -> list[str]:
        assert self.spoiled is not None
        path = self.spoiled.path
        return super().chain(tip, [self._other(one) if path in one.files else one for one in commits])

    def _other(self, commit: Commit) -> Commit:
        return replace(commit, files={} if self.extra is None else {**commit.files, **self.extra})


@pytest.mark.parametrize("extra", [None, {"README.md": b"x"}, {PATH: b"x"}, {"cells/local/boxes/x": b"x"}], ids=str)
def test_a_commit_that_does_more_or_less_than_its_job_is_not_pushed_and_blocks_no_other(
    remote: Path, tmp_path: Path, extra: dict[str, bytes] | None
) -> None:
    sloppy = Sloppy(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "sloppy.git"))
    batch = [provision(sloppy.fetch()) for _ in range(5)]
    sloppy.spoiled, sloppy.extra = batch[2], extra
    outcome = commits.write(sloppy, batch)
    good = [intent.job_id for intent in batch if intent is not batch[2]]
    assert (list(outcome.landed), job_ids(remote), list(outcome.refused)) == (good, good, [batch[2].job_id])
    assert outcome.refused[batch[2].job_id].facts["rule"] == "one-path"


def test_a_job_that_a_guard_refuses_holds_its_boxs_later_ones_and_blocks_no_other(
    repository: Repository, remote: Path
) -> None:
    first, other = provision(repository.fetch()), provision(repository.fetch())
    bad = follow(first, "erase", 2, first.base_sha, state="destroyed")
    later = follow(first, "suspend", 3, first.base_sha, state="suspended")
    outcome = commits.write(repository, [first, bad, later, other])
    assert job_ids(remote) == [first.job_id, other.job_id]
    assert {job_id: type(error) for job_id, error in outcome.refused.items()} == {bad.job_id: GuardBreached}


def test_a_resize_keeps_the_volume_that_ops_made_larger_meanwhile(repository: Repository, remote: Path) -> None:
    first = provision(repository.fetch())
    commits.write(repository, [first])
    content = repository.read(repository.fetch(), [first.path])[first.path]
    remotes.commit(remote, {first.path: content.replace(b"volume_gib: 10", b"volume_gib: 50")}, "bigger")
    commits.write(repository, [follow(first, "resize", 2, repository.fetch(), plan="team", volume_gib=20)])
    read = manifests.read(repository.read(repository.fetch(), [first.path])[first.path])
    assert (read.spec.plan, read.spec.volume_gib) == ("team", 50)


def test_who_approved_a_job_stands_in_its_commit(repository: Repository, remote: Path) -> None:
    intent = replace(provision(repository.fetch()), approvals={"cap_reached": "admin", "volume_below_plan": "admin"})
    commits.write(repository, [intent])
    assert remotes.git(remote, "log", "-1", "--format=%(trailers:key=Approved-By,valueonly)", "main") == "admin"
