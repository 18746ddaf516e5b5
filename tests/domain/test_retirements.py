"""When a destroyed box's file is due to leave Git, and how many may at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.errors import Permanent
from controller.domain import boxes, caps, jobs, lifecycle, retirements
from controller.domain.boxes import Box
from controller.domain.caps import CapSettings
from controller.domain.jobs import Job, JobState, Verb
from controller.domain.lifecycle import LifecycleSettings, Why
from tests.domain.test_work import job

WEEK = timedelta(days=7)
SHA = "a" * 40


async def land(session: AsyncSession) -> None:
    for one in await session.scalars(select(Job).where(Job.state == JobState.QUEUED).order_by(Job.rev)):
        jobs.committed(one, SHA)
        jobs.done(one)


async def destroyed(session: AsyncSession) -> Box:
    """A box whose erasure is done, just now."""
    box: Box = await boxes.get(session, (await job(session)).box_id)
    await lifecycle.condemn(session, box, Why("stripe", "evt_2"))
    for _ in range(2):
        await land(session)
        await lifecycle.end_retention(session, LifecycleSettings(retention=timedelta(0)))
    await land(session)
    return box


async def later(session: AsyncSession, after: timedelta = WEEK) -> list[Job]:
    with clock.frozen(clock.now() + WEEK + timedelta(hours=1)):
        return await retirements.raise_due(session, after)


async def test_a_week_after_it_was_destroyed_a_job_takes_the_file_away(session: AsyncSession) -> None:
    box = await destroyed(session)
    assert await retirements.raise_due(session, WEEK) == []
    [made] = await later(session)
    assert (made.verb, made.rev, made.actor) == (Verb.RETIRE, box.rev, retirements.ACTOR)
    assert made.fields == {"rev": box.rev, retirements.SINCE: SHA}
    assert await later(session) == []


@pytest.mark.parametrize("spoil", ["suspend", "open", "failed", "retired"])
async def test_a_box_that_lives_or_has_something_left_to_do_is_not_retired(session: AsyncSession, spoil: str) -> None:
    box = await destroyed(session)
    [newest] = await session.scalars(select(Job).where(Job.rev == box.rev))
    if spoil == "suspend":
        box.state = "condemned"
    elif spoil == "open":
        newest.state = JobState.SYNCED.value
    elif spoil == "failed":
        jobs.failed(newest, Permanent("x"))
    else:
        await retirements.over(session, box.id)
    assert await later(session) == []


async def test_what_is_over_is_done_and_raised_no_more(session: AsyncSession) -> None:
    box = await destroyed(session)
    [made] = await later(session)
    jobs.committed(made, SHA)
    assert [one.id for one, _ in await retirements.unfinished(session)] == [made.id]
    await retirements.over(session, box.id)
    assert (made.state, box.synced_rev, box.retired_at is not None) == (JobState.DONE, made.rev, True)
    assert (await retirements.unfinished(session), await later(session)) == ([], [])
    assert await retirements.begun(session, [box.id]) == {box.id}


@pytest.mark.parametrize(
    ("settings", "cap"),
    [(CapSettings(cap_retirements_a_batch=1), "retirements_a_batch"),
     (CapSettings(cap_retirements_an_hour=1), "retirements_an_hour")],
)  # fmt: skip
async def test_past_a_cap_of_their_own_they_wait_for_an_admin(
    session: AsyncSession, settings: CapSettings, cap: str
) -> None:
    for _ in range(3):
        await destroyed(session)
    made = await later(session)
    with clock.frozen(clock.now() + WEEK + timedelta(hours=2)):
        claimed = await caps.claim(session, settings)
    assert (len(made), len(claimed.due)) == (3, 1)
    assert {one.error for one in claimed.parked} == {f"cap_reached (cap={cap}, limit=1)"}
