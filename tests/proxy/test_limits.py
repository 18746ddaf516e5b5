"""A plan's tokens: counted over the billing period, and said in words when they are used up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from controller.core import ids
from controller.core.db import Database
from controller.domain import plans, usage
from controller.domain.measured import Measured
from controller.domain.subscriptions import Subscription
from proxy.limits import HEADER
from tests.proxy.conftest import Door

PRO = plans.get("pro").tokens


async def spend(database: Database, door: Door, tokens: int, at: datetime | None = None) -> None:
    """Record ``tokens`` for the door's box, now in its period or at another time."""
    async with database.transaction() as session:
        start = await session.scalar(select(Subscription.period_start).where(Subscription.box_id == door.box_id))
        assert start is not None
        one = Measured(
            request_id=ids.new(), box_id=door.box_id, model="small", input_tokens=tokens - 1, output_tokens=1,
            at=at or start + timedelta(hours=1),
        )  # fmt: skip
        await usage.record(session, [one])
    door.clock.at += 5


async def test_the_last_token_is_the_plans_last(door: Door, database: Database) -> None:
    await spend(database, door, PRO - 1)
    assert HEADER not in (await door.ask()).headers
    await spend(database, door, 1)
    answer = await door.ask()
    assert (answer.status_code, answer.headers[HEADER]) == (200, "tokens")
    assert len(door.provider.bodies) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_used_up_plan_is_told_in_the_customers_language(door: Door, database: Database, stream: bool) -> None:
    await spend(database, door, PRO)
    text = await (streamed(door) if stream else whole(door))
    assert "tokens do seu plano" in text
    assert "01/12/2026" in text
    assert door.provider.bodies == []


async def whole(door: Door) -> str:
    said = await door.openai.chat.completions.create(model="small", messages=[{"role": "user", "content": "oi"}])
    return said.choices[0].message.content or ""


async def streamed(door: Door) -> str:
    chunks = await door.openai.chat.completions.create(
        model="small", messages=[{"role": "user", "content": "oi"}], stream=True
    )
    return "".join([one.choices[0].delta.content or "" async for one in chunks])


async def test_the_message_itself_is_not_metered(door: Door, database: Database) -> None:
    await spend(database, door, PRO)
    assert (await door.ask()).json()["usage"]["total_tokens"] == 0
    async with database.transaction() as session:
        await session.execute(update(Subscription).values(period_start=datetime(2026, 12, 1, tzinfo=UTC)))
    door.clock.at += 5
    await door.ask()
    assert [one.model for one in await door.measured()] == ["small"]


async def test_a_new_period_starts_with_the_whole_plan(door: Door, database: Database) -> None:
    await spend(database, door, PRO)
    async with database.transaction() as session:
        await session.execute(update(Subscription).values(period_start=datetime(2026, 12, 1, tzinfo=UTC)))
    door.clock.at += 5
    assert HEADER not in (await door.ask()).headers
