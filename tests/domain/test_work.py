"""Events and jobs wait their turn, back off, and are set aside for a human in the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.db import Database
from controller.core.errors import CloudError, Conflict, NotFound, Permanent, Temporary
from controller.domain import boxes, inbox, jobs, lifecycle
from controller.domain.attempts import MOST, MOST_WHILE_AWAY, backoff
from controller.domain.inbox import InboxEvent
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Why
from tests import factories

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
AWAY = Temporary("away")
ENDS = [(NotFound("gone"), MOST), (Permanent("no"), 1), (CloudError("crashed"), MOST), (AWAY, MOST_WHILE_AWAY)]


async def job(session: AsyncSession) -> Job:
    """The provision job of a new box."""
    mint = factories.mint()
    draft = await factories.draft(session, mint)
    made = await lifecycle.converge(session, mint, factories.facts(draft.id), Why("stripe", "evt_1"))
    assert made is not None
    return made


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (60, 300)])
def test_the_wait_doubles_up_to_five_minutes(attempts: int, seconds: int) -> None:
    assert backoff(attempts) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("error", "attempts"), ENDS)
async def test_an_event_is_set_aside_after_its_last_attempt(
    session: AsyncSession, error: CloudError, attempts: int
) -> None:
    await inbox.put(session, "stripe", "evt_1", "x", {})
    event = await session.get_one(InboxEvent, ("stripe", "evt_1"))
    for _ in range(attempts):
        assert event.set_aside_at is None
        inbox.failed(event, error)
    await session.flush()
    assert (event.error, await inbox.take(session, "stripe", "evt_1")) == (error.code, None)


async def test_an_event_with_text_that_jsonb_cannot_hold_is_stored_without_it(session: AsyncSession) -> None:
    await inbox.put(session, "stripe", "evt_1", "x", {"a\0": ["b\0c", {"d": "\ud800"}, 1, None]})
    event = await session.get_one(InboxEvent, ("stripe", "evt_1"), populate_existing=True)
    assert event.payload == {"a": ["bc", {"d": "?"}, 1, None]}


async def test_a_failed_event_is_due_again_when_its_wait_is_over(session: AsyncSession) -> None:
    with clock.frozen(NOON):
        assert await inbox.put(session, "stripe", "evt_1", "x", {})
        assert not await inbox.put(session, "stripe", "evt_1", "x", {})
        inbox.failed(await session.get_one(InboxEvent, ("stripe", "evt_1")), AWAY)
        await session.flush()
        assert await inbox.due(session, "stripe") == []
    with clock.frozen(NOON + timedelta(seconds=1)):
        assert await inbox.due(session, "stripe") == ["evt_1"]


async def test_a_failed_event_waits_as_long_as_the_other_side_asked(session: AsyncSession) -> None:
    with clock.frozen(NOON):
        await inbox.put(session, "stripe", "evt_1", "x", {})
        event = await session.get_one(InboxEvent, ("stripe", "evt_1"))
        inbox.failed(event, Temporary("away", retry_after=timedelta(minutes=1)))
    assert event.next_attempt_at == NOON + timedelta(minutes=1)


async def test_an_event_that_was_set_aside_is_due_at_once_when_it_is_retried(session: AsyncSession) -> None:
    await inbox.put(session, "stripe", "evt_1", "x", {})
    with pytest.raises(Conflict):
        await inbox.retry(session, "stripe", "evt_1")
    inbox.failed(await session.get_one(InboxEvent, ("stripe", "evt_1")), Permanent("no"))
    await inbox.retry(session, "stripe", "evt_1")
    await session.flush()
    assert await inbox.due(session, "stripe") == ["evt_1"]


async def test_an_event_in_other_hands_is_left_alone(database: Database) -> None:
    async with database.transaction() as session:
        await inbox.put(session, "stripe", "evt_1", "x", {})
    async with database.transaction() as first, database.transaction() as second:
        assert await inbox.take(first, "stripe", "evt_1") is not None
        assert await inbox.take(second, "stripe", "evt_1") is None


@pytest.mark.parametrize(("error", "attempts"), ENDS)
async def test_a_job_fails_after_its_last_attempt_and_a_retry_begins_anew(
    session: AsyncSession, error: CloudError, attempts: int
) -> None:
    made = await job(session)
    for _ in range(attempts):
        assert made.state == JobState.QUEUED
        jobs.failed(made, error)
    assert made.state == JobState.FAILED
    jobs.retry(made)
    await session.flush()
    assert (made.attempts, await jobs.claim(session)) == (0, [made])


async def test_no_rev_overtakes_one_that_waits(session: AsyncSession) -> None:
    first = await job(session)
    await lifecycle.suspend(session, await boxes.get(session, first.box_id), Why("admin"))
    jobs.failed(first, AWAY)
    await session.flush()
    assert await jobs.claim(session) == []


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_no_rev_overtakes_another_when_clocks_differ(session: AsyncSession, limit: int) -> None:
    first = await job(session)
    with clock.frozen(clock.now() - timedelta(seconds=30)):
        await lifecycle.suspend(session, await boxes.get(session, first.box_id), Why("admin"))
    assert [one.rev for one in await jobs.claim(session, limit)] == [1, 2][:limit]


@pytest.mark.parametrize(("minutes", "stuck"), [(14, False), (16, True)])
async def test_a_committed_job_that_is_not_done_in_time_is_stuck(
    session: AsyncSession, minutes: int, stuck: bool
) -> None:
    made = await job(session)
    jobs.committed(made, "a" * 40)
    assert made.committed_at is not None
    with clock.frozen(made.committed_at + timedelta(minutes=minutes)):
        assert jobs.is_stuck(made) == stuck
        jobs.done(made)
        assert not jobs.is_stuck(made)
