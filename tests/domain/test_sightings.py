"""What the cluster says is kept, and what drifts or heals without a commit is told from what a job does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.db import Database
from controller.domain import boxes, conditions, emergencies, jobs, sightings
from controller.domain import standbys as pool
from controller.domain.conditions import HALT_WITHIN, Condition, Kind
from controller.domain.jobs import STUCK_AFTER, ApprovalNeeded, Job
from controller.domain.lifecycle import Mint, Why
from controller.domain.sightings import Look, Sighting
from controller.domain.standbys import StandbySettings
from tests import standbys
from tests.domain.test_work import job

CALM = Look("", 1, "Synced", "Healthy", "Succeeded", "2026-11-01T00:00:00Z", None, 9, held=False)


async def settled(session: AsyncSession) -> Look:
    """A box with nothing on its way, as it was last seen."""
    made = await job(session)
    jobs.committed(made, "a" * 40)
    jobs.synced(made)
    jobs.done(made)
    look = replace(CALM, box_id=made.box_id)
    assert await sightings.record(session, look) is False
    return look


async def seen(session: AsyncSession, look: Look) -> Sighting:
    return await session.get_one(Sighting, look.box_id, populate_existing=True)


async def kinds(session: AsyncSession, box_id: str | None = None) -> list[Kind]:
    return [one.kind for one in await conditions.of(session, box_id)]


async def test_what_is_out_of_sync_without_a_job_drifts_until_it_is_put_right(session: AsyncSession) -> None:
    look = await settled(session)
    await sightings.record(session, replace(look, sync="OutOfSync"))
    assert await kinds(session) == [Kind.DRIFTED]
    assert await sightings.record(session, replace(look, operation="2026-11-02T00:00:00Z")) is True
    row = await seen(session, look)
    assert (row.drifted_since, row.last_drift_at is not None, row.self_heals) == (None, True, 1)
    assert await kinds(session) == []


async def test_a_standby_drifts_as_any_box_and_nothing_is_left_of_one_that_was_replaced(
    session: AsyncSession, mint: Mint
) -> None:
    box = await standbys.made(session, mint)
    [late] = await later(session)
    assert (late.kind, late.box_id) == (Kind.NOT_COMMITTED, box.id)
    await standbys.serve(session, box)
    await sightings.record(session, replace(CALM, box_id=box.id, sync="OutOfSync"))
    assert await kinds(session, box.id) == [Kind.DRIFTED]
    await pool.keep(session, mint, StandbySettings())
    await standbys.serve(session, box)
    await sightings.record(session, replace(CALM, box_id=box.id, rev=2))
    assert await later(session) == []


async def test_what_a_job_changes_is_no_drift(session: AsyncSession) -> None:
    look = await settled(session)
    made = Job(box_id=look.box_id, verb="resize", rev=2, fields={"rev": 2}, actor="admin")
    session.add(made)
    await session.flush()
    await sightings.record(session, replace(look, sync="OutOfSync", operation="2026-11-02T00:00:00Z"))
    row = await seen(session, look)
    assert (row.drifted_since, row.self_heals) == (None, 0)


async def test_what_is_held_off_does_not_drift(session: AsyncSession) -> None:
    look = await settled(session)
    await sightings.record(session, replace(look, sync="OutOfSync", held=True))
    assert await kinds(session) == []


async def test_an_application_of_its_name_in_another_cell_says_nothing_of_a_box(session: AsyncSession) -> None:
    look = await settled(session)
    await sightings.record(session, replace(look, cell="us1-a", sync="OutOfSync", operation="2026-11-02T00:00:00Z"))
    row = await seen(session, look)
    assert (row.sync, row.drifted_since, row.self_heals) == ("Synced", None, 0)
    await sightings.forget(session, look.box_id, "us1-a")
    assert await seen(session, look) is not None
    await sightings.forget(session, look.box_id, (await boxes.get(session, look.box_id)).cell)
    assert await session.get(Sighting, look.box_id) is None


async def test_an_application_of_nobodys_is_not_kept(session: AsyncSession) -> None:
    assert await sightings.record(session, replace(CALM, box_id="platform")) is False
    assert await session.get(Sighting, "platform") is None


@pytest.mark.parametrize("phase", ["Failed", "Error"])
async def test_a_sync_that_was_given_up_is_told_at_once_with_its_reason(session: AsyncSession, phase: str) -> None:
    look = await settled(session)
    await sightings.record(session, replace(look, phase=phase, message="admission refused it"))
    [found] = await conditions.of(session)
    assert (found.kind, found.reason) == (Kind.SYNC_FAILED, "rev 1: admission refused it")


async def later(session: AsyncSession) -> list[Condition]:
    with clock.frozen(clock.now() + 2 * STUCK_AFTER):
        return await conditions.of(session)


@pytest.mark.parametrize(
    ("state", "kind", "reason"),
    [
        ("queued", Kind.NOT_COMMITTED, "provision at rev 1 is not in Git"),
        ("committed", Kind.NOT_SYNCED, "the cluster does not run provision at rev 1"),
        ("synced", Kind.NOT_READY, "provision at rev 1 is applied, and the gateway has not reported"),
    ],
)
async def test_a_job_that_does_not_move_for_fifteen_minutes_is_told(
    session: AsyncSession, state: str, kind: Kind, reason: str
) -> None:
    made = await job(session)
    if state != "queued":
        jobs.committed(made, "a" * 40)
    if state == "synced":
        jobs.synced(made)
    await session.flush()
    assert await conditions.of(session) == []
    [found] = await later(session)
    assert (found.kind, found.reason, found.waits) == (kind, reason, made.id)


async def test_what_waits_for_an_admin_and_what_failed_are_told_at_once(session: AsyncSession) -> None:
    parked, failed = await job(session), await job(session)
    jobs.park(parked, ApprovalNeeded("cap_reached", limit=1))
    jobs.failed(failed, ApprovalNeeded("x"))
    failed.state, failed.error = "failed", "guard_breached"
    await session.flush()
    found = {one.waits: (one.kind, one.reason) for one in await conditions.of(session)}
    assert found[parked.id] == (Kind.NEEDS_APPROVAL, "cap_reached (limit=1)")
    assert found[failed.id] == (Kind.JOB_FAILED, "guard_breached")


async def test_a_stop_that_the_cluster_does_not_follow_is_told_within_minutes(database: Database) -> None:
    async with database.transaction() as session:
        made = await job(session)
        await emergencies.stop(session, await boxes.get(session, made.box_id, lock=True), Why("admin"), "x")
        with clock.frozen(clock.now() + 2 * HALT_WITHIN):
            [found] = await conditions.of(session, made.box_id)
        assert (found.kind, found.reason) == (Kind.NOT_HALTED, "a pod is still there")
        assert Kind.NOT_RELEASED in [one.kind for one in await later(session)]
