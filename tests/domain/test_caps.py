"""Past a cap a job waits for an admin, whoever claims it and however often; every other job goes on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.db import Database
from controller.core.errors import Permanent, Temporary
from controller.domain import boxes, caps, jobs, lifecycle
from controller.domain.boxes import Box
from controller.domain.caps import CapSettings
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import LifecycleSettings, Why
from tests import factories
from tests.domain.test_work import NOON, job

HOURLY = CapSettings(cap_endings_a_batch=0, cap_endings_an_hour=2, cap_dunning_an_hour=2)
BATCHED = CapSettings(cap_endings_a_batch=2, cap_endings_an_hour=0, cap_dunning_an_hour=0)
OFF = CapSettings(cap_endings_a_batch=0, cap_endings_an_hour=0, cap_dunning_an_hour=0)


async def box(session: AsyncSession) -> Box:
    """A box whose provision is done."""
    made = await job(session)
    close(made)
    return await boxes.get(session, made.box_id)


def close(*made: Job) -> None:
    for one in made:
        jobs.committed(one, "a" * 40)
        jobs.done(one)


async def ending(session: AsyncSession) -> Job:
    made = await lifecycle.condemn(session, await box(session), Why("stripe", "evt_2"))
    assert made is not None
    return made


async def stopping(session: AsyncSession, actor: str = "stripe") -> Job:
    made = await lifecycle.suspend(session, await box(session), Why(actor, "evt_2"), lifecycle.PAYMENT)
    assert made is not None
    return made


async def several(session: AsyncSession, make: Any, count: int) -> list[Job]:
    return [await make(session) for _ in range(count)]


@pytest.mark.parametrize(
    ("settings", "make", "cap"),
    [
        (BATCHED, ending, "endings_a_batch"),
        (HOURLY, ending, "endings_an_hour"),
        (HOURLY, stopping, "dunning_an_hour"),
    ],
)
async def test_past_a_cap_jobs_are_parked_with_the_reason_and_others_go_on(
    session: AsyncSession, settings: CapSettings, make: Any, cap: str
) -> None:
    capped, other = await several(session, make, 4), await job(session)
    claimed = await caps.claim(session, settings)
    assert (claimed.due, claimed.parked) == ([*capped[:2], other], capped[2:])
    assert {one.state for one in capped[2:]} == {JobState.NEEDS_APPROVAL}
    assert {one.error for one in capped[2:]} == {f"cap_reached (cap={cap}, limit=2)"}


@pytest.mark.parametrize("make", [ending, stopping])
async def test_zero_turns_a_cap_off(session: AsyncSession, make: Any) -> None:
    capped = await several(session, make, 4)
    assert (await caps.claim(session, OFF)).due == capped


async def test_what_an_admin_suspends_is_not_dunning(session: AsyncSession) -> None:
    made = [await stopping(session, "admin") for _ in range(4)]
    assert (await caps.claim(session, HOURLY)).due == made


@pytest.mark.parametrize("settings", [HOURLY, BATCHED])
async def test_what_people_merged_is_approved_by_that_and_uses_nothing_up(
    session: AsyncSession, settings: CapSettings
) -> None:
    merged = await several(session, ending, 4)
    for one in merged:
        one.actor, one.cause = "ops:ana@example.com", "a" * 40
    await session.flush()
    own = await several(session, ending, 3)
    claimed = await caps.claim(session, settings)
    assert (claimed.due, claimed.parked) == ([*merged, *own[:2]], own[2:])


async def test_an_hour_later_as_many_may_go_again(session: AsyncSession) -> None:
    with clock.frozen(NOON):
        close(*(await caps.claim(session, HOURLY)).due, *await several(session, ending, 2))
    for minutes, count in ((0, 2), (59, 0), (61, 2)):
        with clock.frozen(NOON + timedelta(hours=5, minutes=minutes)):
            await several(session, ending, 2)
            due = (await caps.claim(session, HOURLY)).due
            assert len(due) == count
            close(*due)
            await session.flush()


async def test_what_waits_for_its_push_counts_however_long_the_remote_is_away(session: AsyncSession) -> None:
    with clock.frozen(NOON):
        away = await several(session, ending, 2)
        assert (await caps.claim(session, HOURLY)).due == away
    with clock.frozen(NOON + timedelta(hours=3)):
        late = await ending(session)
        claimed = await caps.claim(session, HOURLY)
        assert (claimed.due, claimed.parked) == (away, [late])


async def test_a_job_that_is_claimed_again_does_not_count_again(session: AsyncSession) -> None:
    made = await several(session, ending, 2)
    for _ in range(3):
        assert (await caps.claim(session, HOURLY)).due == made
        for one in made:
            jobs.failed(one, Temporary("away"))
            one.next_attempt_at = clock.now()
        await session.flush()


async def test_a_box_that_ends_step_by_step_counts_once(session: AsyncSession) -> None:
    first, _ = await several(session, ending, 2)
    keep = LifecycleSettings(retention=timedelta(0))
    verbs = []
    for _ in range(3):
        due = (await caps.claim(session, HOURLY)).due
        close(*due)
        verbs += [one.verb for one in due if one.box_id == first.box_id]
        await session.flush()
        await lifecycle.end_retention(session, keep)
    assert verbs == ["destroy", "approve", "erase"]


async def test_what_was_approved_goes_and_uses_nothing_up(session: AsyncSession) -> None:
    with clock.frozen(NOON):
        made = await several(session, ending, 5)
        close(*(await caps.claim(session, HOURLY)).due)
    with clock.frozen(NOON + timedelta(minutes=61)):
        for one in made[2:4]:
            await jobs.approve(session, one, "admin")
        assert (await caps.claim(session, HOURLY)).due == made[2:4]
        close(*made[2:4])
        fresh = await several(session, ending, 3)
        claimed = await caps.claim(session, HOURLY)
        assert (claimed.due, claimed.parked, made[4].state) == (fresh[:2], fresh[2:], JobState.NEEDS_APPROVAL)


async def test_what_git_refused_is_not_counted_and_is_judged_anew_when_it_is_tried_again(
    session: AsyncSession,
) -> None:
    refused = await several(session, ending, 2)
    await caps.claim(session, HOURLY)
    for one in refused:
        jobs.failed(one, Permanent("hook"))
    others = await several(session, ending, 2)
    assert (await caps.claim(session, HOURLY)).due == others
    jobs.retry(refused[0])
    assert (await caps.claim(session, HOURLY)).parked == [refused[0]]


async def test_after_an_outage_a_push_takes_no_more_than_a_batchs_cap(session: AsyncSession) -> None:
    rounds = []
    for _ in range(3):
        made = await several(session, ending, 2)
        assert (await caps.claim(session, BATCHED)).due == made
        for one in made:
            one.next_attempt_at = clock.now() + timedelta(minutes=1)
        rounds.append(made)
        await session.flush()
    with clock.frozen(clock.now() + timedelta(minutes=2)):
        for made in rounds:
            claimed = await caps.claim(session, BATCHED)
            assert (claimed.due, claimed.parked) == (made, [])
            close(*made)
            await session.flush()


async def test_later_jobs_of_a_parked_jobs_box_wait(session: AsyncSession) -> None:
    made = await several(session, stopping, 3)
    stopped = await boxes.get(session, made[2].box_id)
    lifted = await lifecycle.reactivate(session, factories.mint(), stopped, Why("admin"), lifecycle.PAYMENT)
    assert lifted is not None
    assert (await caps.claim(session, HOURLY)).due == made[:2]
    close(*made[:2])
    await jobs.approve(session, made[2], "admin")
    assert (await caps.claim(session, HOURLY)).due == [made[2], lifted]


async def test_parked_jobs_hide_nobody_behind_them(session: AsyncSession) -> None:
    made, other = await several(session, ending, 6), await job(session)
    close(*(await caps.claim(session, HOURLY, limit=2)).due)
    claimed = await caps.claim(session, HOURLY, limit=2)
    assert (claimed.due, claimed.parked) == ([other], made[2:])


async def test_two_writers_let_through_no_more_than_one(database: Database) -> None:
    async with database.transaction() as session:
        made = await several(session, ending, 6)

    async def claim() -> list[str]:
        async with database.transaction() as session:
            return [one.id for one in (await caps.claim(session, HOURLY)).due]

    found = await asyncio.gather(*(claim() for _ in range(4)))
    assert found == [[one.id for one in made[:2]]] * 4
    async with database.transaction() as session:
        states = [(await session.get_one(Job, one.id)).state for one in made]
    assert states == ["queued"] * 2 + ["needs_approval"] * 4


async def test_a_claim_that_was_rolled_back_has_let_nothing_through(database: Database) -> None:
    async with database.transaction() as session:
        made = await several(session, ending, 3)
    with pytest.raises(ZeroDivisionError):
        await claim_and_die(database)
    async with database.transaction() as session:
        claimed = await caps.claim(session, HOURLY)
        assert [one.id for one in (*claimed.due, *claimed.parked)] == [one.id for one in made]


async def claim_and_die(database: Database) -> None:
    async with database.transaction() as session:
        await caps.claim(session, HOURLY)
        raise ZeroDivisionError


async def test_a_mixed_claim_takes_any_boxes_jobs_in_their_order(session: AsyncSession) -> None:
    made = [await stopping(session) for _ in range(4)]
    for one in made:
        await lifecycle.resize(session, await boxes.get(session, one.box_id), "starter", Why("admin"))
    claims = [(await caps.claim(session, OFF, limit=2, mixed=True)).due for _ in range(40)]
    assert {one.box_id for due in claims for one in due} == {one.box_id for one in made}
    assert all([one.rev for one in due] == [2, 3] for due in claims)
