"""Postgres' view against Git's: differences are told, and what is newer in Git is adopted after a restore."""

from __future__ import annotations

from sqlalchemy import delete, update

from controller.domain import boxes, lifecycle
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.lifecycle import Why
from controller.gitops import manifests
from controller.workers import replaying
from controller.workers.replaying import Difference, Newer
from tests.gitops import remotes
from tests.gitops.test_commits import spec
from tests.workers.ops import Ops
from tests.workers.test_adopting_files import NEW, OWNER


async def replayed(ops: Ops) -> list[Difference]:
    return await replaying.replay(ops.database, ops.repository)


async def suspended_and_forgotten(ops: Ops) -> None:
    """A suspension reached Git; then Postgres was restored from before it, and its own pointer with it."""
    async with ops.database.transaction() as session:
        job = await lifecycle.suspend(session, await boxes.get(session, ops.box_id), Why("admin"))
        assert job is not None
    await ops.write()
    async with ops.database.transaction() as session:
        await session.execute(delete(Job).where(Job.id == job.id))
        await session.execute(update(Box).values(state="active", rev=1, suspended_for=[]))


async def test_where_both_agree_there_is_nothing_to_tell(ops: Ops) -> None:
    assert await replayed(ops) == []


async def test_what_postgres_lost_is_told_field_by_field(ops: Ops) -> None:
    await suspended_and_forgotten(ops)
    [found] = await replayed(ops)
    assert (found.box_id, found.newer) == (ops.box_id, Newer.GIT)
    assert found.fields == {"rev": (2, 1), "state": ("suspended", "active")}


async def test_what_is_newer_in_git_is_adopted_and_confirmed(ops: Ops) -> None:
    await suspended_and_forgotten(ops)
    await replaying.adopt(ops.database, ops.repository, ops.mint)
    await ops.look()
    assert ((await ops.box()).state, ops.manifest().spec.rev) == ("suspended", 3)
    assert await replayed(ops) == []


async def test_a_restored_postgres_catches_up_by_itself_too(ops: Ops) -> None:
    await suspended_and_forgotten(ops)
    await ops.look()
    assert ((await ops.box()).state, ops.manifest().spec.rev, await ops.equal()) == ("suspended", 3, True)


async def test_what_waits_for_git_is_not_taken_for_lost(ops: Ops) -> None:
    async with ops.database.transaction() as session:
        await lifecycle.suspend(session, await boxes.get(session, ops.box_id), Why("admin"))
    assert [found.newer for found in await replayed(ops)] == [Newer.WAITING]
    await replaying.adopt(ops.database, ops.repository, ops.mint)
    assert (await ops.box()).state == "suspended"


async def test_a_box_that_only_git_knows_comes_back(ops: Ops) -> None:
    path = manifests.path("local", NEW)
    remotes.commit(ops.remote, {path: manifests.create(NEW, OWNER, spec(rev=9, deletion="held"))}, "lost")
    assert [(found.path, found.reason) for found in await replayed(ops)] == [(path, "only in Git")]
    await replaying.adopt(ops.database, ops.repository, ops.mint)
    async with ops.database.transaction() as session:
        assert (await boxes.get(session, NEW)).rev == 10


async def test_a_box_that_only_postgres_knows_and_a_bad_file_are_told(ops: Ops) -> None:
    remotes.commit(ops.remote, {ops.path: b"nonsense"}, "oh no")
    assert [(found.newer, found.reason) for found in await replayed(ops)] == [(Newer.NOBODY, "the file breaks a rule")]
