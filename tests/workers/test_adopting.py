"""What people push becomes the desired state: by field, once, confirmed by the platform with the next rev."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import redis.asyncio

from controller.core import ids
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.domain import boxes, lifecycle, subscriptions
from controller.domain.jobs import JobState
from controller.domain.lifecycle import Why
from controller.domain.plans import PlanName
from controller.workers import adopting
from controller.workers.adopting import AdoptionSettings, HistoryRewritten
from tests import factories
from tests.gitops import remotes
from tests.proxy.waiting import until
from tests.workers.ops import Ops


async def test_a_field_of_the_spec_is_adopted_with_its_author_and_confirmed(ops: Ops) -> None:
    sha = ops.push(('thinking: "low"', 'thinking: "high"'))
    await ops.look()
    assert ((await ops.box()).thinking, ops.manifest().spec.rev, ops.manifest().spec.profile) == ("high", 2, 2)
    job = (await ops.jobs())[-1]
    assert (job.verb, job.actor, job.cause, job.state) == ("adopt", "ops:ops@example.com", sha, JobState.COMMITTED)
    assert await ops.equal()


async def test_the_confirming_commit_names_the_commit_that_it_confirms(ops: Ops) -> None:
    sha = ops.push(('thinking: "low"', 'thinking: "high"'))
    await ops.look()
    trailers = remotes.git(ops.remote, "log", "-1", "--format=%(trailers:key=Ops-Commit,valueonly)", "main")
    assert trailers.strip() == sha


async def test_what_is_adopted_once_is_not_adopted_again(ops: Ops) -> None:
    ops.push(('thinking: "low"', 'thinking: "high"'))
    await ops.look()
    tip = remotes.git(ops.remote, "rev-parse", "main")
    await ops.look()
    assert (len(await ops.jobs()), remotes.git(ops.remote, "rev-parse", "main")) == (2, tip)


async def test_overrides_are_ops_own(ops: Ops) -> None:
    ops.push(("overrides: {}", "overrides:\n  memory_limit_mib: 4096"))
    await ops.look()
    assert (await ops.box()).overrides == {"memory_limit_mib": 4096}
    assert (await ops.equal(), ops.manifest().spec.rev) == (True, 2)


async def test_a_comment_asks_for_nothing(ops: Ops) -> None:
    ops.push(("overrides: {}", "overrides: {}  # a good customer"))
    await ops.look()
    assert (len(await ops.jobs()), ops.manifest().spec.rev) == (1, 1)


@pytest.mark.parametrize("rev", [1, 900])
async def test_a_rev_that_people_set_is_moved_on(ops: Ops, rev: int) -> None:
    async with ops.database.transaction() as session:
        await lifecycle.resize(session, await boxes.get(session, ops.box_id), "team", Why("admin"))
    await ops.write()
    sha = ops.push(("rev: 2", f"rev: {rev}"))
    await ops.look()
    assert (ops.manifest().spec.rev, (await ops.box()).rev) == (max(rev, 2) + 1, max(rev, 2) + 1)
    assert (await ops.told(sha)).outcome == "corrected"


async def test_reverting_a_resize_is_a_roll_back(ops: Ops, tmp_path: Path) -> None:
    async with ops.database.transaction() as session:
        await lifecycle.resize(session, await boxes.get(session, ops.box_id), "starter", Why("admin"))
    await ops.write()
    assert ops.manifest().spec.plan == "starter"
    revert(ops, tmp_path, "HEAD")
    await ops.look()
    assert (ops.manifest().spec.plan, ops.manifest().spec.rev, (await ops.box()).plan) == ("pro", 3, "pro")
    assert ((await ops.jobs())[-1].verb, await ops.equal()) == ("resize", True)


async def test_a_volume_that_grew_stays_when_its_resize_is_reverted(ops: Ops, tmp_path: Path) -> None:
    async with ops.database.transaction() as session:
        await lifecycle.resize(session, await boxes.get(session, ops.box_id), "team", Why("admin"))
    await ops.write()
    revert(ops, tmp_path, "HEAD")
    await ops.look()
    assert (ops.manifest().spec.plan, ops.manifest().spec.volume_gib, await ops.equal()) == ("pro", 20, True)


def revert(ops: Ops, folder: Path, commit: str) -> str:
    """What ``git revert`` and ``git push`` do in a clone of somebody's; the sha."""
    clone = folder / ids.new()
    remotes.git(folder, "clone", "--quiet", str(ops.remote), str(clone))
    remotes.git(clone, "revert", "--no-edit", commit)
    remotes.git(clone, "push", "--quiet")
    return remotes.git(clone, "rev-parse", "HEAD")


async def test_a_suspension_by_ops_is_lifted_by_ops_alone(ops: Ops) -> None:
    ops.push(('state: "active"', 'state: "suspended"'))
    await ops.look()
    async with ops.database.transaction() as session:
        box = await boxes.get(session, ops.box_id, lock=True)
        assert await lifecycle.reactivate(session, ops.mint, box, Why("admin")) is None
    ops.push(('state: "suspended"', 'state: "active"'))
    await ops.look()
    assert [job.verb for job in await ops.jobs()] == ["provision", "suspend", "reactivate"]
    assert ((await ops.box()).state, await ops.equal()) == ("active", True)


async def test_a_box_that_ops_condemn_has_no_open_door_left(ops: Ops) -> None:
    ops.push(('state: "active"', 'state: "condemned"'))
    await ops.look()
    box = await ops.box()
    assert (box.condemned_at is not None, (await ops.jobs())[-1].verb) == (True, "destroy")


async def test_a_job_that_waited_before_loses_the_field_that_ops_set_and_keeps_the_rest(ops: Ops) -> None:
    async with ops.database.transaction() as session:
        await lifecycle.resize(session, await boxes.get(session, ops.box_id), "starter", Why("admin"))
    ops.push(('plan: "pro"', 'plan: "team"'), ("volume_gib: 10", "volume_gib: 20"))
    await ops.look()
    assert (ops.manifest().spec.plan, ops.manifest().spec.rev, await ops.equal()) == ("team", 3, True)
    assert [job.state for job in await ops.jobs()] == [JobState.COMMITTED] * 3


async def test_a_later_commit_of_the_platform_has_the_last_word(ops: Ops) -> None:
    sha = ops.push(('plan: "pro"', 'plan: "team"'), ("volume_gib: 10", "volume_gib: 20"))
    async with ops.database.transaction() as session:
        await lifecycle.resize(session, await boxes.get(session, ops.box_id), "starter", Why("admin"))
    await ops.write()
    await ops.look()
    assert (ops.manifest().spec.plan, await ops.equal()) == ("starter", True)
    assert "spec.plan was set again by the later commit" in (await ops.told(sha)).notes[0]


@pytest.mark.parametrize("job", ["01kb0t7m8c9d0e1f2g3h4j5k6p", "theirs"])
async def test_a_job_id_that_is_not_this_commits_makes_it_no_commit_of_ours(ops: Ops, job: str) -> None:
    claimed = (await ops.jobs())[0].id if job == "theirs" else job
    ops.push(('thinking: "low"', 'thinking: "high"'), message=f"ops: change\n\nJob-Id: {claimed}\n")
    await ops.look()
    assert ((await ops.box()).thinking, await ops.equal()) == ("high", True)


async def test_a_copy_of_a_commit_of_ours_is_a_change_like_another(ops: Ops) -> None:
    async with ops.database.transaction() as session:
        job = await lifecycle.suspend(session, await boxes.get(session, ops.box_id), Why("admin"))
        assert job is not None
    await ops.write()
    ops.push(('thinking: "low"', 'thinking: "high"'), message=f"copied\n\nJob-Id: {job.id}\n")
    await ops.look()
    assert [one.verb for one in await ops.jobs()] == ["provision", "suspend", "adopt"]
    assert await ops.equal()


async def test_a_rev_far_ahead_loses_no_job_that_waits(ops: Ops) -> None:
    async with ops.database.transaction() as session:
        await lifecycle.suspend(session, await boxes.get(session, ops.box_id), Why("admin"))
    ops.push(("rev: 1", "rev: 900"))
    await ops.look()
    assert [(job.rev, job.state) for job in await ops.jobs()] == [
        (1, "committed"),
        (901, "committed"),
        (902, "committed"),
    ]
    assert (ops.manifest().spec.state, await ops.equal()) == ("suspended", True)


async def test_a_rewritten_main_is_not_adopted(ops: Ops) -> None:
    remotes.git(ops.remote, "update-ref", "refs/heads/main", "main~1")
    remotes.commit(ops.remote, {"x.md": b"x\n"}, "forced")
    with pytest.raises(HistoryRewritten):
        await ops.look()


async def test_a_plan_that_ops_gave_stays_until_another_is_paid_for(ops: Ops) -> None:
    ops.push(('plan: "pro"', 'plan: "team"'), ("volume_gib: 10", "volume_gib: 20"))
    await ops.look()
    assert [await paying(ops, plan) for plan in (PlanName.PRO, PlanName.STARTER)] == ["team", "starter"]


async def paying(ops: Ops, plan: PlanName) -> str:
    """The box's plan after Stripe said that ``plan`` is paid for."""
    async with ops.database.transaction() as session:
        row = await subscriptions.of_box(session, ops.box_id)
        assert row is not None
        facts = factories.facts(row.draft_id, plan, stripe_id=row.stripe_id)
        await lifecycle.converge(session, ops.mint, facts, Why("stripe"))
    return (await ops.box()).plan


async def test_the_writer_is_asked_again_and_again_until_the_stop(queue: QueueSettings, queue_url: str) -> None:
    stop, often = asyncio.Event(), AdoptionSettings(adopt_interval=timedelta(milliseconds=10))

    async def rung() -> bool:
        async with redis.asyncio.Redis.from_url(queue_url) as waiting:
            return len(await waiting.lrange("oc:gitops", 0, -1)) >= 2

    rings = asyncio.create_task(adopting.ring(Doorbell(queue), often, stop))
    await until(rung)
    stop.set()
    await rings
