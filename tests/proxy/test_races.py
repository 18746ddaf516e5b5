"""The last of a quota, raced for by many clients over two replicas: nobody gets a token that is not there."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack

import httpx
import pytest
import redis.asyncio as redis
from aiohttp import web
from sqlalchemy import text

from controller.core import ids
from controller.core.db import Database
from controller.domain import usage
from controller.domain.measured import Measured
from controller.domain.plans import PLANS, PlanName
from proxy.limits import HEADER
from tests.proxy.conftest import Door, proxy
from tests.proxy.provider import completion

ROUNDS = 200 if os.environ.get("FAULTS") == "full" else 4
CLIENTS = 64
LEFT = 20_000
PRO = PLANS[PlanName.PRO].tokens
PLENTY = {"rate_per_second": 100_000, "rate_burst": 100_000}


async def greedy(request: web.Request) -> web.StreamResponse:
    """A provider that uses all that it was allowed, and reads every byte of the body as a token."""
    raw = await request.read()
    used = {"prompt_tokens": len(raw), "completion_tokens": json.loads(raw)["max_completion_tokens"]}
    return web.json_response({**completion(content="x"), "usage": used})


@pytest.fixture
async def replicas(door: Door, dsn: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    door.provider.answer = greedy
    with ExitStack() as held:
        bases = [held.enter_context(proxy(dsn, door.queue_url, door.provider.base, **PLENTY)) for _ in "ab"]
        clients = [httpx.AsyncClient(base_url=base, headers=door.http.headers, timeout=60) for base in bases]
        yield clients
        for client in clients:
            await client.aclose()


async def leave(database: Database, door: Door, tokens: int) -> None:
    """Nothing is open, and ``tokens`` are left of the plan."""
    async with database.transaction() as session:
        for table in ("reservations", "usage_events", "usage_monthly"):
            await session.execute(text(f"DELETE FROM {table}"))
        one = Measured(
            request_id=ids.new(), box_id=door.box_id, model="small", input_tokens=PRO - tokens, output_tokens=0,
            at=await session.scalar(text("SELECT period_start FROM subscriptions")),
        )  # fmt: skip
        await usage.record(session, [one])
    async with redis.Redis.from_url(door.queue_url) as counts:
        await counts.flushall()


def spent(answers: list[httpx.Response]) -> int:
    by_a_model = [answer.json()["usage"] for answer in answers if HEADER not in answer.headers]
    return sum(one["prompt_tokens"] + one["completion_tokens"] for one in by_a_model)


async def test_the_last_of_a_quota_is_never_given_twice(
    door: Door, database: Database, replicas: list[httpx.AsyncClient]
) -> None:
    for number in range(ROUNDS):
        await leave(database, door, LEFT)
        body = {"model": "small", "messages": [], "max_completion_tokens": 200 + number}
        calls = [replicas[one % 2].post("/v1/chat/completions", json=body) for one in range(CLIENTS)]
        answers = await asyncio.gather(*calls)
        assert {answer.status_code for answer in answers} == {200}
        assert 0 < spent(answers) <= LEFT
