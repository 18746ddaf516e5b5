"""What may not stand in the repository is put back with the reason, whatever else its commit holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from controller.core import failpoints
from controller.core.failpoints import InjectedFault
from controller.domain import boxes, lifecycle
from controller.domain.adoption import OpsCommit
from controller.domain.boxes import Box
from controller.domain.drafts import Draft
from controller.domain.jobs import JobState
from controller.domain.lifecycle import Why
from controller.domain.subscriptions import Subscription
from controller.gitops import manifests
from controller.gitops.repository import GitSettings, Repository
from controller.workers import adopting
from tests.gitops import remotes
from tests.gitops.test_commits import spec
from tests.workers.ops import Ops

Spoil = Callable[[bytes], bytes]
NEW, OWNER = "01kb0t7m8c9d0e1f2g3h4j5k6m", "01kb0t7m8c9d0e1f2g3h4j5k6n"
SPOILED: dict[str, tuple[Spoil, str]] = {
    "not YAML": (lambda content: content + b"\t:\n", "not YAML"),
    "an unknown key": (lambda content: content.replace(b"  ring: 2", b"  rang: 2"), "spec.rang is not a field"),
    "a duplicate key": (lambda content: content + b"overrides: {}\n", "a second time"),
    "another id": (lambda content: content.replace(b'id: "', b'id: "0', 1), "metadata.id"),
    "another owner": (lambda content: content.replace(b'customer: "01', b'customer: "02'), "metadata.customer"),
    "a step that no box takes": (lambda content: content.replace(b'"active"', b'"destroyed"'), "in one step"),
    "an approval too early": (lambda content: content.replace(b'"held"', b'"approved"'), "condemned"),
    "a plan without its volume": (lambda content: content.replace(b'"pro"', b'"team"'), "plan team has 20"),
    "a smaller volume": (
        lambda content: content.replace(b"overrides: {}", b"overrides:\n  volume_gib: 5"), "never shrinks"
    ),
    "a secret": (lambda content: content + b"# ghp_" + b"a1B2" * 9 + b"\n", "looks like"),
    "nothing": (lambda content: b"", "map with apiVersion"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPOILED)
async def test_a_file_that_may_not_stand_is_put_back_with_the_reason(ops: Ops, kind: str) -> None:
    good, (spoil, reason) = ops.content(), SPOILED[kind]
    sha = remotes.commit(ops.remote, {ops.path: spoil(good)}, "ops: oh no")
    await ops.look()
    assert ops.content() == good
    told = await ops.told(sha)
    assert told.outcome == "restored"
    assert any(reason in note for note in told.notes)
    assert ((await ops.box()).state, len(await ops.jobs())) == ("active", 1)


async def test_the_other_files_of_the_commit_are_adopted(ops: Ops) -> None:
    path = manifests.path("local", NEW)
    ops.push(
        ('thinking: "low"', 'thinking: "high"'), files={path: b"nonsense", "cells/local/boxes/aa/notes.txt": b"x\n"}
    )
    await ops.look()
    assert (ops.manifest().spec.thinking, await ops.equal()) == ("high", True)
    assert remotes.git(ops.remote, "ls-tree", "-r", "--name-only", "main").split() == ["README.md", ops.path]


async def test_putting_back_is_one_commit_that_names_the_one_it_answers(ops: Ops) -> None:
    sha = remotes.commit(ops.remote, {ops.path: b"", "cells/local/x.yaml": b"x\n"}, "ops: oh no")
    await ops.look()
    form = "--format=%P %(trailers:key=Restores,valueonly)"
    assert remotes.git(ops.remote, "log", "-1", form, "main").split() == [sha, sha]


@pytest.mark.parametrize("kind", ["link", "program"])
async def test_a_link_or_a_program_is_no_box(ops: Ops, tmp_path: Path, kind: str) -> None:
    good, clone = ops.content(), tmp_path / "theirs"
    remotes.git(tmp_path, "clone", "--quiet", str(ops.remote), str(clone))
    if kind == "link":
        (clone / ops.path).unlink()
        os.symlink("/etc/passwd", clone / ops.path)
    else:
        (clone / ops.path).chmod(0o755)
    remotes.git(clone, "commit", "--quiet", "--all", "--message", "ops: oh no")
    remotes.git(clone, "push", "--quiet")
    await ops.look()
    assert (ops.content(), remotes.git(ops.remote, "ls-tree", "main", ops.path)[:6]) == (good, "100644")


@pytest.mark.parametrize("name", [b"caf\xe9.yaml", b"two\nlines.yaml", b'"quoted".yaml', b"link"])
async def test_a_stray_file_goes_whatever_its_name(ops: Ops, tmp_path: Path, name: bytes) -> None:
    clone = tmp_path / "theirs"
    remotes.git(tmp_path, "clone", "--quiet", str(ops.remote), str(clone))
    os.symlink(b"/etc/passwd", os.fsencode(clone) + b"/cells/local/boxes/" + name)
    remotes.git(clone, "add", "--all")
    remotes.git(clone, "commit", "--quiet", "--message", "ops: oh no")
    remotes.git(clone, "push", "--quiet")
    await ops.look()
    assert remotes.git(ops.remote, "ls-tree", "-r", "--name-only", "main").split() == ["README.md", ops.path]


async def test_a_file_that_is_removed_ends_no_box_and_comes_back(ops: Ops, tmp_path: Path) -> None:
    good, clone = ops.content(), tmp_path / "theirs"
    remotes.git(tmp_path, "clone", "--quiet", str(ops.remote), str(clone))
    remotes.git(clone, "rm", "--quiet", ops.path)
    remotes.git(clone, "commit", "--quiet", "--message", "ops: oh no")
    remotes.git(clone, "push", "--quiet")
    await ops.look()
    assert (ops.content(), (await ops.box()).state) == (good, "active")
    assert "removing a box's file deletes nothing" in (await ops.told(remotes.git(clone, "rev-parse", "HEAD"))).notes[0]


@pytest.mark.parametrize("edit", [("metadata:", "nonsense:"), ('state: "active"', 'state: "destroyed"')])
async def test_a_job_that_meets_a_bad_file_waits_until_it_is_put_back(ops: Ops, edit: tuple[str, str]) -> None:
    ops.push(edit)
    async with ops.database.transaction() as session:
        await lifecycle.suspend(session, await boxes.get(session, ops.box_id), Why("admin"))
    await ops.write()
    job = (await ops.jobs())[-1]
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)
    async with ops.database.transaction() as session:
        (await session.merge(job)).next_attempt_at = job.created_at
    await ops.look()
    assert (ops.manifest().spec.state, (await ops.jobs())[-1].state) == ("suspended", JobState.COMMITTED)


async def test_a_mistake_that_people_mended_themselves_is_not_touched(ops: Ops) -> None:
    good = ops.content()
    remotes.commit(ops.remote, {ops.path: b""}, "ops: oh no")
    mended = remotes.commit(ops.remote, {ops.path: good}, "ops: mended")
    await ops.look()
    assert remotes.git(ops.remote, "rev-parse", "main") == mended


async def test_people_who_push_while_a_file_is_put_back_lose_nothing(ops: Ops, tmp_path: Path) -> None:
    remotes.commit(ops.remote, {"cells/local/stray.yaml": b"x\n"}, "ops: oh no")
    racing = Racing(GitSettings(git_remote=str(ops.remote), git_clone_dir=tmp_path / "racing.git"))
    racing.meanwhile = lambda: ops.push(('thinking: "low"', 'thinking: "high"'))
    await adopting.adopt(ops.database, racing, ops.mint)
    await ops.look()
    assert (ops.manifest().spec.thinking, await ops.equal()) == ("high", True)
    assert "stray" not in remotes.git(ops.remote, "ls-tree", "-r", "--name-only", "main")


@pytest.mark.parametrize("point", ["adopt.before_push", "adopt.repaired"])
async def test_a_look_that_breaks_off_is_done_again_once(
    ops: Ops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    ops.push(('thinking: "low"', 'thinking: "high"'), files={"cells/local/stray.yaml": b"x\n"})
    monkeypatch.setenv("FAILPOINTS", f"{point}:raise")
    monkeypatch.setenv("FAILPOINT_LOG", str(tmp_path / "hits"))
    failpoints._armed.cache_clear()
    with pytest.raises(InjectedFault):
        await ops.look()
    await ops.look()
    failpoints._armed.cache_clear()
    assert (len(await ops.jobs()), await ops.equal(), ops.manifest().spec.thinking) == (2, True, "high")
    subjects = remotes.git(ops.remote, "log", "--format=%s", "main").splitlines()
    assert len([line for line in subjects if line.startswith("boxes: put back")]) == 1
    async with ops.database.transaction() as session:
        assert [row.actor for row in await session.scalars(select(OpsCommit))] == ["ops:ops@example.com"]


class Racing(Repository):
    """A repository to which somebody else pushes between our look and our push, once."""

    meanwhile: Callable[[], object] | None = None

    def push(self, sha: str) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        super().push(sha)


async def test_a_new_file_becomes_a_box_with_a_complimentary_subscription(ops: Ops) -> None:
    await merged(ops)
    async with ops.database.transaction() as session:
        box = await boxes.get(session, NEW)
        row = await session.scalar(select(Subscription).where(Subscription.box_id == NEW))
    assert row is not None
    assert (box.state, box.rev, row.kind, row.customer_id) == ("active", 2, "complimentary", OWNER)
    assert box.live_profile == 1  # its file is pushed already, so the box may fetch it
    made = manifests.read(ops.content(manifests.path("local", NEW))).spec
    assert made.model_dump(mode="json") == boxes.spec(box)


async def test_what_a_file_must_not_say_of_a_new_box_comes_from_its_draft(ops: Ops) -> None:
    async with ops.database.transaction() as session:
        answers = {"niche": "general", "locale": "en", "plan": "pro", "currency": "usd", "email": "bia@example.com"}
        session.add(Draft(id=NEW, agent_name="Bia", telegram_users=[7001], **answers))
    await merged(ops)
    async with ops.database.transaction() as session:
        box: Box = await boxes.get(session, NEW)
    assert (box.agent_name, box.telegram_users) == ("Bia", [7001])


async def test_a_second_file_of_a_box_is_taken_away(ops: Ops) -> None:
    other = manifests.path("eu1-a", ops.box_id)
    sha = remotes.commit(ops.remote, {other: ops.content()}, "ops: oh no")
    await ops.look()
    assert other not in remotes.git(ops.remote, "ls-tree", "-r", "--name-only", "main")
    assert "in one cell only" in (await ops.told(sha)).notes[0]


async def merged(ops: Ops) -> None:
    """A pull request that adds a box is merged and looked at."""
    content = manifests.create(NEW, OWNER, spec(deletion="held"))
    remotes.commit(ops.remote, {manifests.path("local", NEW): content}, "ops: a new box")
    await ops.look()
