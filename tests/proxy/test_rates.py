"""Runaway loops are slowed down, over all replicas, and neighbours notice nothing."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest

from controller.core.db import Database
from proxy.buckets import Buckets
from tests.proxy.conftest import Door, bought, proxy

SLOW = {"rate_per_second": 0.001, "rate_burst": 10}
BODY = {"model": "small", "messages": []}


async def burst(bases: list[str], token: str, count: int) -> list[httpx.Response]:
    """So many calls at once, spread over the replicas."""
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=60) as http:
        calls = [http.post(f"{bases[one % len(bases)]}/v1/chat/completions", json=BODY) for one in range(count)]
        return await asyncio.gather(*calls)


async def test_two_replicas_share_a_customers_bucket_and_nobody_elses(door: Door, database: Database, dsn: str) -> None:
    _, neighbour = await bought(database)
    with (
        proxy(dsn, door.queue_url, door.provider.base, **SLOW) as first,
        proxy(dsn, door.queue_url, door.provider.base, **SLOW) as second,
    ):
        statuses = Counter(one.status_code for one in await burst([first, second], door.token, 40))
        others = Counter(one.status_code for one in await burst([first, second], neighbour, 10))
    assert (statuses, others) == ({200: 10, 429: 30}, {200: 10})


async def test_a_call_that_comes_too_fast_hears_when_to_come_again(door: Door, dsn: str) -> None:
    with proxy(dsn, door.queue_url, door.provider.base, rate_per_second=0.01, rate_burst=1) as base:
        answers = await burst([base], door.token, 5)
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "rate_limited"


@pytest.mark.parametrize(("at", "granted"), [(0.0, 3), (0.5, 1), (10.0, 3)])
def test_a_bucket_fills_up_to_its_burst(at: float, granted: int) -> None:
    now = [100.0]
    buckets = Buckets(2, 3, lambda: now[0])
    if at:
        assert [buckets.take("a") for _ in range(3)] == [0.0] * 3
    now[0] += at
    assert [buckets.take("a") == 0 for _ in range(4)] == [one < granted for one in range(4)]


async def test_without_redis_the_rate_is_kept_by_each_process(door: Door, dsn: str) -> None:
    with proxy(dsn, "redis://127.0.0.1:9/0", door.provider.base, **SLOW) as base:
        statuses = Counter(one.status_code for one in await burst([base], door.token, 30))
    assert statuses == {200: 10, 429: 20}
