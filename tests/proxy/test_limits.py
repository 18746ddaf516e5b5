"""A plan's tokens: counted over the billing period, and said in the form that suits whoever asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import redis.asyncio as redis
from sqlalchemy import select, update

from controller.core import ids
from controller.core.db import Database
from controller.domain import plans, usage
from controller.domain.measured import Measured
from controller.domain.subscriptions import Subscription
from controller.domain.tokens import ProxyToken
from controller.domain.usage import UsageEvent
from proxy.limits import HEADER, WARNING
from tests.proxy.conftest import Door
from tests.proxy.provider import USAGE, completion, says
from tests.proxy.waiting import until

PRO = plans.get("pro").tokens
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)


async def spend(database: Database, door: Door, tokens: int) -> None:
    """Record ``tokens`` for the door's box in its period, and let Redis forget what it knew of it."""
    async with database.transaction() as session:
        start = await session.scalar(select(Subscription.period_start).where(Subscription.box_id == door.box_id))
        assert start is not None
        one = Measured(
            request_id=ids.new(), box_id=door.box_id, model="small", input_tokens=tokens - 1, output_tokens=1,
            at=start + timedelta(hours=1),
        )  # fmt: skip
        await usage.record(session, [one])
    async with redis.Redis.from_url(door.queue_url) as counts:
        await counts.flushall()


async def renew(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(Subscription).values(period_start=DECEMBER))


async def answered_by_us(door: Door, **body: Any) -> bool:
    return HEADER in (await door.ask(**body)).headers


async def test_what_is_left_is_given_and_not_a_token_more(door: Door, database: Database) -> None:
    await spend(database, door, PRO - 2_000)
    assert not await answered_by_us(door)
    cap = json.loads(door.provider.bodies[0])["max_completion_tokens"]
    assert 16 <= cap <= 2_000
    await spend(database, door, 1_990)
    assert await answered_by_us(door)
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


@pytest.mark.parametrize("stream", [False, True])
async def test_a_customers_own_token_gets_openais_429(door: Door, database: Database, stream: bool) -> None:
    await spend(database, door, PRO)
    async with database.transaction() as session:
        await session.execute(update(ProxyToken).values(refusal="error"))
    answer = await door.ask(stream=stream)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "plan_used_up")
    assert int(answer.headers["retry-after"]) > 60


async def test_the_message_itself_is_not_metered(door: Door, database: Database) -> None:
    await spend(database, door, PRO)
    assert (await door.ask()).json()["usage"]["total_tokens"] == 0
    await renew(database)
    assert await until(lambda: answered_by_a_model(door))
    assert {one.model for one in await door.measured()} == {"small"}


async def answered_by_a_model(door: Door) -> httpx.Response | None:
    answer = await door.ask()
    return None if HEADER in answer.headers else answer


async def test_a_call_that_began_before_a_renewal_counts_to_the_old_period(door: Door, database: Database) -> None:
    await door.ask()
    await renew(database)
    async with database.transaction() as session:
        await usage.record(session, await door.measured())
        assert await session.scalar(select(UsageEvent.period_start)) == datetime(2026, 11, 1, tzinfo=UTC)


async def test_from_nine_tenths_on_a_header_warns(door: Door, database: Database) -> None:
    await spend(database, door, PRO * 89 // 100)
    assert WARNING not in (await door.ask()).headers
    await spend(database, door, PRO // 100)
    assert (await door.ask()).headers[WARNING] == "90"


async def test_what_was_used_is_left_out_of_what_is_left_before_it_is_in_postgres(
    door: Door, database: Database
) -> None:
    await spend(database, door, PRO - 3_000)
    used = {**USAGE, "prompt_tokens": 2_500, "completion_tokens": 490}
    door.provider.answer = says(json.dumps({**completion(content="x"), "usage": used}).encode())
    assert not await answered_by_us(door)
    assert await until(lambda: answered_by_us(door))
