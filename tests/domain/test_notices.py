"""Who is told what: written once with the fact, and moved on by what became of each attempt."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.db import Database
from controller.core.errors import CloudError, NotFound, OutcomeUnknown, Permanent, Temporary
from controller.domain import boxes, completion, jobs, letters, lifecycle, notices
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.lifecycle import Why
from controller.domain.notices import LEASE, MAX_ATTEMPTS, Notice
from tests import factories

WHY = Why("test")


@pytest.fixture
async def box(session: AsyncSession) -> Box:
    mint = factories.mint()
    draft = await factories.draft(session, mint, telegram_users=[7001, 7002])
    job = await lifecycle.converge(session, mint, factories.facts(draft.id), WHY)
    assert job is not None
    return await boxes.get(session, job.box_id)


async def all_of(session: AsyncSession) -> list[tuple[str, str, str]]:
    rows = await session.scalars(select(Notice).order_by(Notice.channel, Notice.recipient))
    return [(row.kind, row.channel, row.recipient) for row in rows]


async def claimed(session: AsyncSession, box: Box, channel: str, *, sending: bool = True) -> Notice:
    await notices.write(session, box, letters.AGENT_LIVE, "x")
    found = (await session.scalars(select(Notice).where(Notice.channel == channel).limit(1))).one()
    assert await notices.claim(session, found.id) is found
    if sending:
        notices.sending(found)
    await session.flush()
    return found


async def test_an_occasion_is_told_once_to_each_reader(session: AsyncSession, box: Box) -> None:
    assert len(await notices.write(session, box, letters.AGENT_LIVE, "job-1")) == 3
    assert await notices.write(session, box, letters.AGENT_LIVE, "job-1") == []
    readers = [("email", box.customer_id), ("telegram", "7001"), ("telegram", "7002")]
    assert await all_of(session) == [("agent_live", *reader) for reader in readers]


async def test_a_finished_provision_writes_its_notices_and_no_other_job_does(session: AsyncSession, box: Box) -> None:
    await lifecycle.suspend(session, box, WHY)
    for job in await jobs.open_of(session, box.id):
        jobs.committed(job, "a" * 40)
        jobs.synced(job)
    box.synced_rev = box.rev
    written = await completion.finish(session, box)
    assert len(written) == 3
    assert {row[0] for row in await all_of(session)} == {"agent_live"}
    assert await completion.finish(session, box) == []


async def test_the_gateways_report_finishes_the_job_and_writes_the_notices_together(database: Database) -> None:
    mint = factories.mint()
    async with database.transaction() as session:
        draft = await factories.draft(session, mint)
        job = await lifecycle.converge(session, mint, factories.facts(draft.id), WHY)
        assert job is not None
        jobs.committed(job, "a" * 40)
        jobs.synced(job)
    with contextlib.suppress(RuntimeError):
        async with database.transaction() as session:
            assert len(await completion.report_ready(session, job.box_id, profile=1, gateway="x")) == 2
            raise RuntimeError
    async with database.transaction() as session:
        assert (await session.get_one(Job, job.id)).state == "synced"
        assert await all_of(session) == []


@pytest.mark.parametrize(
    ("channel", "error", "state"),
    [
        ("email", Temporary("mail_away"), "waiting"),
        ("email", OutcomeUnknown("answer_lost"), "waiting"),
        ("telegram", OutcomeUnknown("answer_lost"), "unknown"),
        ("telegram", NotFound("chat_closed"), "undeliverable"),
        ("email", Permanent("mail_refused"), "set_aside"),
    ],
)
async def test_a_failed_attempt_leaves_the_notice_where_its_reason_says(
    session: AsyncSession, box: Box, channel: str, error: CloudError, state: str
) -> None:
    notice = await claimed(session, box, channel)
    notices.failed(notice, error)
    assert (notice.state, notice.error) == (state, error.code)


async def test_an_answer_lost_before_the_message_went_out_is_tried_again(session: AsyncSession, box: Box) -> None:
    notice = await claimed(session, box, "telegram", sending=False)
    notices.failed(notice, OutcomeUnknown("answer_lost"))
    assert notice.state == "waiting"


async def test_the_last_attempt_sets_the_notice_aside(session: AsyncSession, box: Box) -> None:
    notice = await claimed(session, box, "email")
    notice.attempts = MAX_ATTEMPTS
    notices.failed(notice, Temporary("mail_away"))
    assert notice.state == "set_aside"


async def test_the_other_sides_patience_is_respected(session: AsyncSession, box: Box) -> None:
    notice = await claimed(session, box, "telegram")
    notices.failed(notice, Temporary("telegram_busy", retry_after=timedelta(minutes=3)))
    assert notice.next_attempt_at >= clock.now() + timedelta(minutes=2)
    assert notice.id not in await notices.due(session)


async def test_all_attempts_together_take_about_a_day() -> None:
    waits = [notices.backoff(attempt) for attempt in range(1, MAX_ATTEMPTS)]
    assert timedelta(hours=20) < sum(waits, timedelta()) < timedelta(hours=30)


@pytest.mark.parametrize(
    ("channel", "sending", "attempts", "state"),
    [
        ("email", True, 1, "waiting"),
        ("telegram", True, 1, "unknown"),
        ("telegram", False, 1, "waiting"),
        ("email", True, MAX_ATTEMPTS, "set_aside"),
    ],
)
async def test_what_a_dead_sender_held_is_freed_after_the_lease(
    session: AsyncSession, box: Box, channel: str, sending: bool, attempts: int, state: str
) -> None:
    notice = await claimed(session, box, channel, sending=sending)
    notice.attempts = attempts
    await session.flush()
    await notices.recover(session)
    await session.refresh(notice)
    assert notice.state == ("sending" if sending else "claimed")
    with clock.frozen(clock.now() + LEASE):
        await notices.recover(session)
        await session.refresh(notice)
    assert notice.state == state


async def test_a_sender_whose_claim_has_passed_on_cannot_close_the_notice(session: AsyncSession, box: Box) -> None:
    notice = await claimed(session, box, "email")
    session.expunge(notice)
    with clock.frozen(clock.now() + LEASE):
        await notices.recover(session)
        assert await notices.claim(session, notice.id) is not None
    await session.flush()
    assert await notices.held(session, notice) is None
