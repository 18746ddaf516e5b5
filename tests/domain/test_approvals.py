"""A parked job waits for a human, its box's later jobs wait with it, and who let it go on is kept."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.db import Database
from controller.core.errors import Conflict, Invalid, Permanent, Temporary
from controller.domain import boxes, jobs, lifecycle
from controller.domain.jobs import ApprovalNeeded, Job, JobState
from controller.domain.lifecycle import LifecycleSettings, Why
from tests.domain.test_work import NOON, job

NEEDED = ApprovalNeeded("too_many", limit=3)


async def parked(session: AsyncSession) -> Job:
    made = await job(session)
    jobs.park(made, NEEDED)
    await session.flush()
    return made


async def suspend(session: AsyncSession, box_id: str) -> Job:
    made = await lifecycle.suspend(session, await boxes.get(session, box_id), Why("admin"))
    assert made is not None
    return made


async def test_a_refusal_that_needs_an_approval_parks_the_job_at_once(session: AsyncSession) -> None:
    made = await job(session)
    jobs.failed(made, NEEDED)
    assert (made.state, made.error) == (JobState.NEEDS_APPROVAL, "too_many (limit=3)")
    assert (made.approvals, jobs.approved(made)) == ({"too_many": None}, {})


async def test_later_jobs_of_a_parked_jobs_box_wait_and_others_go_on(session: AsyncSession) -> None:
    first, other = await parked(session), await job(session)
    later = await suspend(session, first.box_id)
    assert await jobs.claim(session) == [other]
    await jobs.approve(session, first, "admin")
    assert await jobs.claim(session) == [first, later, other]


async def test_an_older_job_than_the_parked_one_does_not_wait(session: AsyncSession) -> None:
    first = await job(session)
    jobs.park(await suspend(session, first.box_id), NEEDED)
    await session.flush()
    assert await jobs.claim(session) == [first]


async def test_an_approval_names_who_and_starts_the_count_anew(session: AsyncSession) -> None:
    made = await parked(session)
    made.attempts = 5
    await session.flush()
    await jobs.approve(session, made, "git:Ana Sá <ana@example.com>")
    assert (made.state, made.attempts, made.error) == (JobState.QUEUED, 0, None)
    assert jobs.approved(made) == {"too_many": "git:Ana Sá <ana@example.com>"}


async def test_each_reason_is_approved_by_whoever_saw_it(session: AsyncSession) -> None:
    made = await parked(session)
    await jobs.approve(session, made, "ana")
    jobs.failed(made, ApprovalNeeded("too_small"))
    assert jobs.approved(made) == {"too_many": "ana"}
    await session.flush()
    await jobs.approve(session, made, "eva")
    assert jobs.approved(made) == {"too_many": "ana", "too_small": "eva"}


@pytest.mark.parametrize("error", [Permanent("no"), Temporary("away"), None])
async def test_only_a_parked_job_can_be_approved(session: AsyncSession, error: Permanent | None) -> None:
    made = await job(session)
    if error is not None:
        jobs.failed(made, error)
        await session.flush()
    with pytest.raises(Conflict):
        await jobs.approve(session, made, "admin")


async def test_of_two_approvals_at_once_one_counts(database: Database) -> None:
    async with database.transaction() as session:
        made = await parked(session)
    async with database.transaction() as late:
        stale = await late.get_one(Job, made.id)
        async with database.transaction() as session:
            await jobs.approve(session, await session.get_one(Job, made.id), "first")
        with pytest.raises(Conflict):
            await jobs.approve(late, stale, "second")


@pytest.mark.parametrize("actor", ["", "a\nJob-Id: 1", "a\r", "a\0", "a" * 201], ids=repr)
async def test_a_name_that_would_forge_a_trailer_approves_nothing(session: AsyncSession, actor: str) -> None:
    made = await parked(session)
    with pytest.raises(Invalid):
        await jobs.approve(session, made, actor)
    assert made.state == JobState.NEEDS_APPROVAL


async def test_the_retention_takes_no_step_past_a_parked_one(session: AsyncSession) -> None:
    first = await job(session)
    jobs.done(first)
    condemned = await lifecycle.condemn(session, await boxes.get(session, first.box_id), Why("admin"))
    assert condemned is not None
    jobs.park(condemned, NEEDED)
    await session.flush()
    assert await lifecycle.end_retention(session, LifecycleSettings(retention=NOON - NOON)) == []


async def test_a_parked_job_gets_a_new_rev_with_those_behind_it(session: AsyncSession) -> None:
    first = await parked(session)
    later = await suspend(session, first.box_id)
    assert await jobs.renumber(session, first.box_id, above=7) == 7
    assert [(one.rev, one.fields["rev"]) for one in (first, later)] == [(8, 8), (9, 9)]


async def test_no_job_gets_a_rev_past_one_that_a_push_may_carry(session: AsyncSession) -> None:
    first = await parked(session)
    begun = await suspend(session, first.box_id)
    begun.base_sha = "a" * 40
    await session.flush()
    assert (await jobs.renumber(session, first.box_id, above=7), first.rev, begun.rev) == (0, 1, 2)
