"""What a subscription is after Stripe, ops or the clock had their say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controller.core import clock
from controller.core.db import Database
from controller.domain import lifecycle, mint, subscriptions
from controller.domain.lifecycle import Why
from controller.domain.mint import Order
from controller.domain.subscriptions import COMPLIMENTARY_PERIOD
from tests import factories


@pytest.mark.parametrize(("later", "periods"), [(0, 0), (29.9, 0), (30, 1), (31, 1), (59.9, 1), (75, 2)])
async def test_a_complimentary_subscription_is_in_the_period_that_holds_now(
    database: Database, later: float, periods: int
) -> None:
    async with database.transaction() as session:
        made = await mint.create(session, factories.mint(), Order(), Why("admin"), niches=factories.NICHES)
        row = await subscriptions.of_box(session, made.box_id)
        assert row is not None
        start = row.period_start
        with clock.frozen(start + timedelta(days=later)):
            await subscriptions.renew_complimentary(session)
        assert row.period_start == start + periods * COMPLIMENTARY_PERIOD
        assert row.period_end == row.period_start + COMPLIMENTARY_PERIOD


async def test_what_stripe_renews_is_left_to_stripe(database: Database) -> None:
    facts = factories.facts(None)
    async with database.transaction() as session:
        await lifecycle.converge(session, factories.mint(), facts, Why("stripe"))
        row = await subscriptions.of_stripe(session, facts.stripe_id)
        assert row is not None
        with clock.frozen(row.period_end + timedelta(days=3)):
            await subscriptions.renew_complimentary(session)
        assert (row.period_start, row.period_end) == (facts.period_start, facts.period_end)
