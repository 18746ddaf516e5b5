"""A file that people add anew for a box that Postgres knows is a change of that box, whatever it says."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from controller.domain import adoption, boxes, lifecycle
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Why
from controller.domain.states import Deletion, State
from controller.gitops import manifests
from tests.gitops import remotes
from tests.proxy.conftest import bought
from tests.workers.ops import Ops


async def lose(ops: Ops) -> bytes:
    """The file leaves Git, and ``main`` counts as read; what it said."""
    content = ops.content()
    tip = remotes.commit(ops.remote, {ops.path: None}, "ops: lost")
    async with ops.database.transaction() as session:
        await adoption.move_head(session, tip)
    return content


async def add(ops: Ops, content: bytes, *edits: tuple[str, str]) -> str:
    """People add the file with changes, and the writer looks; the sha."""
    for old, new in edits:
        assert old.encode() in content
        content = content.replace(old.encode(), new.encode())
    sha = remotes.commit(ops.remote, {ops.path: content}, "ops: here it is again")
    await ops.look()
    return sha


def is_there(ops: Ops) -> bool:
    return ops.path in remotes.git(ops.remote, "ls-tree", "-r", "--name-only", "main").split()


async def test_what_differs_is_adopted_and_confirmed(ops: Ops) -> None:
    await add(ops, await lose(ops), ('thinking: "low"', 'thinking: "high"'))
    assert ((await ops.box()).thinking, (await ops.jobs())[-1].verb, ops.manifest().spec.rev) == ("high", "adopt", 2)
    assert await ops.equal()


async def test_what_ops_want_beyond_the_plan_is_adopted(ops: Ops) -> None:
    await add(ops, await lose(ops), ("overrides: {}", "overrides:\n  memory_limit_mib: 4096"))
    assert ((await ops.box()).overrides, await ops.equal()) == ({"memory_limit_mib": 4096}, True)


@pytest.mark.parametrize("number", ["rev: 1", "profile: 1", "agent: 1"])
async def test_a_number_of_the_platforms_is_put_back_with_the_reason(ops: Ops, number: str) -> None:
    sha = await add(ops, await lose(ops), (number, number.replace("1", "77")))
    assert (await ops.equal(), ops.manifest().spec.profile, ops.manifest().spec.secrets.agent) == (True, 1, 1)
    assert (await ops.told(sha)).outcome == "corrected"


async def test_a_destroyed_box_is_not_revived(ops: Ops) -> None:
    content = await lose(ops)
    async with ops.database.transaction() as session:
        box = await boxes.get(session, ops.box_id, lock=True)
        box.state, box.deletion = State.DESTROYED.value, Deletion.APPROVED.value
    sha = await add(ops, content)
    assert ((await ops.box()).state, is_there(ops), len(await ops.jobs())) == ("destroyed", False, 1)
    assert "cannot become active in one step" in (await ops.told(sha)).notes[0]


async def test_another_owner_is_refused(ops: Ops) -> None:
    sha = await add(ops, await lose(ops), ('customer: "01', 'customer: "02'))
    assert (is_there(ops), "metadata.customer never changes" in (await ops.told(sha)).notes[0]) == (False, True)


async def test_a_smaller_volume_is_put_back(ops: Ops) -> None:
    await add(ops, await lose(ops), ('plan: "pro"', 'plan: "starter"'), ("volume_gib: 10", "volume_gib: 5"))
    assert (ops.manifest().spec.plan, ops.manifest().spec.volume_gib, await ops.equal()) == ("starter", 10, True)


async def test_a_job_that_waits_still_lands(ops: Ops) -> None:
    content = await lose(ops)
    async with ops.database.transaction() as session:
        await lifecycle.resize(session, await boxes.get(session, ops.box_id), "team", Why("admin"))
    await add(ops, content, ('plan: "pro"', 'plan: "team"'), ("volume_gib: 10", "volume_gib: 20"))
    assert [job.state for job in await ops.jobs()][1:] == [JobState.COMMITTED] * 2
    assert (ops.manifest().spec.plan, await ops.equal()) == ("team", True)


async def test_the_same_as_before_is_confirmed_all_the_same(ops: Ops) -> None:
    sha = await add(ops, await lose(ops))
    assert (ops.manifest().spec.rev, await ops.equal()) == (2, True)
    assert "knows this box already" in (await ops.told(sha)).notes[0]


async def test_a_purchase_that_waits_lands_behind_a_file_that_came_before_it(ops: Ops) -> None:
    content = ops.content()
    bought_id, _ = await bought(ops.database)
    async with ops.database.transaction() as session:
        box = await boxes.get(session, bought_id)
    for old, new in ((ops.box_id, box.id), ((await ops.box()).customer_id, box.customer_id)):
        content = content.replace(str(old).encode(), str(new).encode())
    remotes.commit(ops.remote, {manifests.path("local", box.id): content}, "ops: too early")
    await ops.look()
    async with ops.database.transaction() as session:
        found = await session.scalars(select(Job.state).where(Job.box_id == box.id))
    assert list(found) == [JobState.COMMITTED] * 2
