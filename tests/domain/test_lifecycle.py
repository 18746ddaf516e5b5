"""What Stripe says becomes what a box should be, whatever came before and however often it is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.errors import Conflict, NotAllowed, NotFound, Permanent
from controller.domain import boxes, jobs, lifecycle, subscriptions, tokens, vault
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.lifecycle import LifecycleSettings, Mint, Why
from controller.domain.plans import Currency, PlanName, price_key
from controller.domain.subscriptions import Facts
from tests import factories

WHY = Why("stripe", "evt_1")


async def bought(session: AsyncSession, mint: Mint, **changed: Any) -> tuple[Facts, Box]:
    draft = await factories.draft(session, mint, **changed)
    facts = factories.facts(draft.id)
    job = await lifecycle.converge(session, mint, facts, WHY)
    assert job is not None
    return facts, await boxes.get(session, job.box_id)


async def verbs(session: AsyncSession, box: Box) -> list[str]:
    return [job.verb for job in await session.scalars(select(Job).where(Job.box_id == box.id).order_by(Job.rev))]


async def test_a_paid_subscription_gets_one_box_however_often_it_is_told(session: AsyncSession, mint: Mint) -> None:
    facts, box = await bought(session, mint)
    assert [await lifecycle.converge(session, mint, facts, WHY) for _ in range(3)] == [None, None, None]
    assert await verbs(session, box) == ["provision"]


async def test_the_bot_token_moves_from_the_draft_to_the_box(session: AsyncSession, mint: Mint) -> None:
    facts, box = await bought(session, mint)
    assert facts.draft_id is not None
    told = await vault.get(session, mint.sealer, box.id, vault.TELEGRAM, 1, reader="test")
    assert told == factories.BOT_TOKEN
    with pytest.raises(NotFound):
        await vault.get(session, mint.sealer, facts.draft_id, vault.TELEGRAM, 1, reader="test")


@pytest.mark.parametrize("status", ["incomplete", "canceled", "incomplete_expired", "unpaid", "past_due"])
async def test_a_first_invoice_that_is_not_paid_makes_no_box(session: AsyncSession, mint: Mint, status: str) -> None:
    draft = await factories.draft(session, mint)
    facts = factories.facts(draft.id, status=status, paid=False, attempts=3)
    assert await lifecycle.converge(session, mint, facts, WHY) is None


async def test_paid_without_a_draft_is_visible_and_heals_when_the_draft_is_known(
    session: AsyncSession, mint: Mint
) -> None:
    draft = await factories.draft(session, mint)
    facts = factories.facts(None)
    assert await lifecycle.converge(session, mint, facts, WHY) is None
    row = await subscriptions.of_stripe(session, facts.stripe_id)
    assert row is not None
    assert row.condition == "paid_without_draft"
    job = await lifecycle.converge(session, mint, replace(facts, draft_id=draft.id), WHY)
    assert job is not None
    assert row.condition is None


async def test_the_third_failed_attempt_suspends_and_paying_reactivates(session: AsyncSession, mint: Mint) -> None:
    facts, box = await bought(session, mint)
    for attempts in (1, 2, 2, 3, 3):
        await lifecycle.converge(session, mint, replace(facts, status="past_due", attempts=attempts), WHY)
    assert (box.state, box.suspended_for) == ("suspended", ["payment"])
    await lifecycle.converge(session, mint, facts, WHY)
    assert await verbs(session, box) == ["provision", "suspend", "reactivate"]


async def test_paying_does_not_lift_an_admins_suspension(session: AsyncSession, mint: Mint) -> None:
    facts, box = await bought(session, mint)
    await lifecycle.suspend(session, box, Why("admin"))
    await lifecycle.converge(session, mint, facts, WHY)
    assert box.state == "suspended"
    await lifecycle.reactivate(session, mint, box, Why("admin"))
    assert box.state == "active"


async def test_a_volume_grows_with_the_plan_and_never_shrinks(session: AsyncSession, mint: Mint) -> None:
    facts, box = await bought(session, mint)
    sizes = []
    for plan in (PlanName.STARTER, PlanName.TEAM, PlanName.PRO):
        await lifecycle.converge(session, mint, replace(facts, price_key=price_key(plan, Currency.BRL)), WHY)
        sizes.append((box.plan, box.volume_gib, boxes.spec(box)["volume_gib"]))
    assert sizes == [("starter", 10, 10), ("team", 20, 20), ("pro", 20, 20)]
    told = await session.scalars(select(Job.fields).where(Job.box_id == box.id).order_by(Job.rev))
    assert ["volume_gib" in fields for fields in told] == [True, False, True, False]


async def test_another_price_resizes_and_the_same_price_does_not(session: AsyncSession, mint: Mint) -> None:
    facts, box = await bought(session, mint)
    team = replace(facts, price_key=price_key(PlanName.TEAM, Currency.USD))
    for told in (team, team, facts):
        await lifecycle.converge(session, mint, told, WHY)
    assert await verbs(session, box) == ["provision", "resize", "resize"]


async def test_an_ended_subscription_condemns_and_kills_the_tokens(session: AsyncSession, mint: Mint) -> None:
    facts, box = await bought(session, mint)
    token = await vault.get(session, mint.sealer, box.id, vault.AGENT, 1, reader="test")
    assert await tokens.agent_box(session, pepper=mint.pepper, token=token) == box.id
    await lifecycle.converge(session, mint, replace(facts, status="canceled"), WHY)
    assert box.state == "condemned"
    with pytest.raises(NotAllowed):
        await tokens.agent_box(session, pepper=mint.pepper, token=token)


async def test_a_condemned_box_comes_back_with_new_tokens_until_its_deletion_is_approved(
    session: AsyncSession, mint: Mint
) -> None:
    _, box = await bought(session, mint)
    await lifecycle.condemn(session, box, WHY)
    job = await lifecycle.reactivate(session, mint, box, Why("admin"))
    assert job is not None
    assert job.fields["secrets"]["agent"] == 2
    await lifecycle.condemn(session, box, WHY)
    box.deletion = "approved"
    with pytest.raises(Conflict):
        await lifecycle.reactivate(session, mint, box, Why("admin"))


async def test_after_the_retention_the_deletion_is_approved_and_only_then_erased(
    session: AsyncSession, mint: Mint
) -> None:
    _, box = await bought(session, mint)
    await lifecycle.condemn(session, box, WHY)
    keep = LifecycleSettings(retention=timedelta(days=7))
    await _close_all(session, box)
    assert await lifecycle.end_retention(session, keep) == []
    with clock.frozen(clock.now() + timedelta(days=8)):
        assert [job.verb for job in await lifecycle.end_retention(session, keep)] == ["approve"]
        assert await lifecycle.end_retention(session, keep) == []
        await _close_all(session, box)
        assert [job.verb for job in await lifecycle.end_retention(session, keep)] == ["erase"]
    assert box.state == "destroyed"


@pytest.mark.parametrize("steps", [0, 1])
async def test_the_retention_goes_no_step_further_than_what_landed(
    session: AsyncSession, mint: Mint, steps: int
) -> None:
    _, box = await bought(session, mint)
    await lifecycle.condemn(session, box, WHY)
    keep = LifecycleSettings(retention=timedelta(0))
    for _ in range(steps):
        await _close_all(session, box)
        await lifecycle.end_retention(session, keep)
    for job in await jobs.open_of(session, box.id):
        jobs.failed(job, Permanent("refused"))
    await session.flush()
    assert await lifecycle.end_retention(session, keep) == []


async def test_revs_count_up_by_one(session: AsyncSession, mint: Mint) -> None:
    _, box = await bought(session, mint)
    await lifecycle.suspend(session, box, WHY)
    await lifecycle.reactivate(session, mint, box, WHY, reason="admin")
    revs = [job.rev for job in await jobs.open_of(session, box.id)]
    assert revs == [1, 2, 3]


async def _close_all(session: AsyncSession, box: Box) -> None:
    for job in await jobs.open_of(session, box.id):
        jobs.done(job)
    await session.flush()
