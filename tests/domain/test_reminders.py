"""What is told about money: each attempt once, however often Stripe tells it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.domain import lifecycle, reminders
from controller.domain.lifecycle import Mint, Why
from controller.domain.notices import Notice
from controller.domain.subscriptions import Facts
from tests import factories

WHY = Why("stripe", "evt_1")


@pytest.fixture
async def facts(session: AsyncSession, mint: Mint) -> Facts:
    """A bought subscription."""
    draft = await factories.draft(session, mint)
    made = factories.facts(draft.id)
    await lifecycle.converge(session, mint, made, WHY)
    return made


async def tell(session: AsyncSession, mint: Mint, facts: Facts) -> None:
    await lifecycle.converge(session, mint, facts, WHY)
    await reminders.write(session, facts)


async def mails(session: AsyncSession) -> list[tuple[str, int | None]]:
    query = select(Notice).where(Notice.channel == "email").order_by(Notice.id)
    return [(row.kind, row.facts.get("attempt")) for row in await session.scalars(query)]


async def test_two_warnings_and_then_the_pause_however_often_they_are_told(
    session: AsyncSession, mint: Mint, facts: Facts
) -> None:
    for attempts in (1, 1, 1, 2, 1, 2, 3, 3):
        owing = replace(facts, status="past_due", paid=False, attempts=attempts, invoice_id="in_1")
        await tell(session, mint, owing)
    assert await mails(session) == [("payment_failed", 1), ("payment_failed", 2), ("payment_suspended", 3)]


async def test_the_next_invoice_is_another_occasion(session: AsyncSession, mint: Mint, facts: Facts) -> None:
    for invoice in ("in_1", "in_2"):
        await tell(session, mint, replace(facts, status="past_due", attempts=1, invoice_id=invoice))
    assert await mails(session) == [("payment_failed", 1)] * 2


async def test_only_the_second_warning_is_the_last(session: AsyncSession, mint: Mint, facts: Facts) -> None:
    for attempts in (1, 2):
        await tell(session, mint, replace(facts, status="past_due", attempts=attempts))
    told = await session.scalars(select(Notice.facts).order_by(Notice.id))
    assert [facts["last_warning"] for facts in told] == [False, True]


async def test_the_end_is_told_once_by_mail_and_to_the_bots_users(
    session: AsyncSession, mint: Mint, facts: Facts
) -> None:
    for _ in range(2):
        await tell(session, mint, replace(facts, status="canceled"))
    told = await session.execute(select(Notice.kind, Notice.channel).order_by(Notice.channel))
    assert [tuple(row) for row in told] == [("subscription_ended", "email"), ("subscription_ended", "telegram")]


async def test_a_first_payment_that_fails_is_told_by_the_checkout_alone(session: AsyncSession, mint: Mint) -> None:
    draft = await factories.draft(session, mint)
    await tell(session, mint, replace(factories.facts(draft.id), status="incomplete", paid=False, attempts=1))
    assert await mails(session) == []


@pytest.mark.parametrize("status", ["active", "paused", "trialing"])
async def test_nothing_is_told_while_nothing_is_owed(
    session: AsyncSession, mint: Mint, facts: Facts, status: str
) -> None:
    await tell(session, mint, replace(facts, status=status))
    assert await mails(session) == []
