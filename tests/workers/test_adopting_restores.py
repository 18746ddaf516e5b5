"""What people push about a restored box: a revert goes back to the kept volume, nothing else of its volumes stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from controller.core import clock
from controller.domain import boxes, lifecycle, restores, sightings
from controller.domain.adoption import Outcome
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Why
from controller.gitops import manifests
from controller.workers import replaying
from tests.domain.fleets import NEW, OLD
from tests.domain.test_restores import CALM
from tests.gitops import remotes
from tests.workers.ops import Ops
from tests.workers.test_adopting import revert
from tests.workers.test_adopting_rollouts import well

ADMIN = Why("admin", "by hand")
TAKEN = {"release": OLD, "rev": 2}
SECOND, FIRST = {"rev": 3, "snapshot": TAKEN}, {"rev": 0}
RESTORED = {"used": SECOND, "kept": FIRST}
SWAPPED = (("used:", "x:"), ("kept:", "used:"), ("x:", "kept:"))
"""What people edit to put a box back on its kept volume by hand."""


async def seen(ops: Ops) -> None:
    """The cluster runs what Git says, the box's snapshot with it, and the gateway reports."""
    await well(ops)
    async with ops.database.transaction() as session:
        box = await boxes.get(session, ops.box_id)
        await sightings.record(session, replace(CALM, box_id=box.id, rev=box.rev, snapshot=f"data-{OLD}-2"))


async def restored(ops: Ops) -> None:
    """The box was upgraded and restored, and runs."""
    await seen(ops)
    async with ops.database.transaction() as session:
        await lifecycle.upgrade(session, await boxes.get(session, ops.box_id, lock=True), NEW, ADMIN)
    await ops.write()
    await seen(ops)
    async with ops.database.transaction() as session:
        await restores.restore(session, await boxes.get(session, ops.box_id, lock=True), ADMIN, "it forgot")
    await ops.write()
    await seen(ops)


async def discarded(ops: Ops) -> Job:
    """The kept volume's end is asked for."""
    async with ops.database.transaction() as session:
        return await restores.discard(session, await boxes.get(session, ops.box_id, lock=True), ADMIN, "all is well")


async def volumes(ops: Ops) -> dict[str, object] | None:
    """The box's volumes, on which Git and Postgres agree."""
    assert await ops.equal()
    return (await ops.box()).volumes


async def test_a_restore_is_one_commit_of_release_and_volumes(ops: Ops) -> None:
    await restored(ops)
    assert (await volumes(ops), ops.manifest().spec.release) == (RESTORED, OLD)
    told = remotes.git(ops.remote, "log", "-1", "--format=%(trailers:key=Action,valueonly)", "main")
    assert told.strip() == "restore"


async def test_a_revert_of_it_goes_back_to_the_former_volume_and_keeps_the_restored_one(
    ops: Ops, tmp_path: Path
) -> None:
    await restored(ops)
    sha = revert(ops, tmp_path, "HEAD")
    await ops.look()
    assert (await volumes(ops), ops.manifest().spec.release) == ({"used": FIRST, "kept": SECOND}, NEW)
    assert ops.manifest().spec.snapshot == manifests.Snapshot(**TAKEN)
    told = await ops.told(sha)
    assert (told.outcome, "is kept" in " ".join(told.notes)) == (Outcome.CORRECTED, True)


async def test_a_second_return_is_told_to_wait_for_the_first(ops: Ops, tmp_path: Path) -> None:
    await restored(ops)
    _, later = [revert(ops, tmp_path, "HEAD") for _ in range(2)]
    await ops.look()
    assert await volumes(ops) == {"used": FIRST, "kept": SECOND}
    assert (await ops.told(later)).outcome == Outcome.RESTORED
    ops.push(*SWAPPED, (f'release: "{NEW}"', f'release: "{OLD}"'))
    await ops.look()
    assert (await volumes(ops), ops.manifest().spec.release) == (RESTORED, OLD)
    assert not [job.error for job in await ops.jobs() if job.state == JobState.FAILED]


async def test_the_one_that_a_revert_left_can_be_given_up_and_the_box_restored_anew(ops: Ops, tmp_path: Path) -> None:
    await restored(ops)
    revert(ops, tmp_path, "HEAD")
    await ops.look()
    await seen(ops)
    await discarded(ops)
    await ops.write()
    await seen(ops)
    async with ops.database.transaction() as session:
        await restores.restore(session, await boxes.get(session, ops.box_id, lock=True), ADMIN, "again")
    await ops.write()
    again = {"rev": 6, "snapshot": TAKEN}
    assert await volumes(ops) == {"used": again, "kept": FIRST, "given_up": 3}


async def test_a_revert_of_the_end_of_a_volume_brings_nothing_back(ops: Ops, tmp_path: Path) -> None:
    await restored(ops)
    await discarded(ops)
    await ops.write()
    sha = revert(ops, tmp_path, "HEAD")
    await ops.look()
    assert await volumes(ops) == {"used": SECOND, "given_up": 0}
    assert (await ops.told(sha)).outcome == Outcome.RESTORED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    kept:\n      rev: 0\n", ""),
        ("    kept:\n      rev: 0\n", "    given_up: 0\n"),
        ("    kept:\n      rev: 0\n", "    kept:\n      rev: 0\n    given_up: 2\n"),
        ("    used:\n      rev: 3\n", "    used:\n      rev: 4\n"),
    ],
    ids=["the kept one left out", "the kept one given up", "another given up", "another used"],
)
async def test_nothing_else_that_people_write_of_volumes_stands(ops: Ops, old: str, new: str) -> None:
    await restored(ops)
    before = ops.content()
    sha = ops.push((old, new))
    await ops.look()
    assert (await volumes(ops), ops.content()) == (RESTORED, before)
    told = await ops.told(sha)
    assert (told.outcome, "spec.volumes" in " ".join(told.notes)) == (Outcome.RESTORED, True)


async def test_a_return_that_comes_before_the_end_of_its_volume_is_in_git_wins(ops: Ops, tmp_path: Path) -> None:
    await restored(ops)
    lost = await discarded(ops)
    revert(ops, tmp_path, "HEAD")
    await ops.write()  # before anybody has looked at the revert
    await ops.look()
    with clock.frozen(clock.now() + timedelta(minutes=1)):
        await ops.write()
    assert await volumes(ops) == {"used": FIRST, "kept": SECOND}
    found = {job.id: job.state for job in await ops.jobs()}
    assert found[lost.id] == JobState.FAILED


async def test_other_edits_leave_the_volumes_alone(ops: Ops) -> None:
    await restored(ops)
    ops.push(("overrides: {}", "overrides:\n  volume_gib: 30"))
    await ops.look()
    assert (await volumes(ops), (await ops.box()).overrides) == (RESTORED, {"volume_gib": 30})


async def forget(ops: Ops) -> None:
    """Postgres was restored from before the box was, and its own pointer with it."""
    async with ops.database.transaction() as session:
        await session.execute(delete(Job).where(Job.box_id == ops.box_id, Job.rev >= 3))
        await session.execute(update(Box).values(rev=2, release=NEW, volumes=None))


@pytest.mark.parametrize("ended", [False, True], ids=["kept", "given up"])
@pytest.mark.parametrize("way", ["by itself", "by replay"])
async def test_a_postgres_that_forgot_a_restore_takes_it_from_git(ops: Ops, way: str, ended: bool) -> None:
    await restored(ops)
    if ended:
        await discarded(ops)
        await ops.write()
    else:
        async with ops.database.transaction() as session:
            await lifecycle.suspend(session, await boxes.get(session, ops.box_id, lock=True), ADMIN)
        await ops.write()
    wanted = (await ops.box()).volumes
    await forget(ops)
    if way == "by replay":
        await replaying.adopt(ops.database, ops.repository, ops.mint)
    await ops.look()
    assert (await volumes(ops), (await ops.box()).release) == (wanted, OLD)
    assert not [job.error for job in await ops.jobs() if job.state == JobState.FAILED]
