"""Redis forgets, hangs and goes away, Postgres goes away: no call is free, and none is counted twice or not at all."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import httpx
import pytest
import redis.asyncio as redis
from sqlalchemy import text

from controller.core.db import Database
from controller.domain import plans
from controller.domain.measured import STREAM
from proxy.limits import HEADER
from tests.proxy.conftest import Door, proxy
from tests.proxy.test_limits import spend
from tests.proxy.waiting import until

PRO = plans.get("pro").tokens
NOWHERE = "redis://127.0.0.1:9/0"
BODY = {"model": "small", "messages": []}


async def ask(base: str, door: Door, **changed: object) -> httpx.Response:
    async with httpx.AsyncClient(headers=door.http.headers, timeout=30) as http:
        return await http.post(f"{base}/v1/chat/completions", json={**BODY, **changed})


async def used(database: Database) -> list[str]:
    async with database.transaction() as session:
        return list(await session.scalars(text("SELECT request_id FROM usage_events ORDER BY 1")))


async def still_open(database: Database) -> list[str]:
    async with database.transaction() as session:
        return list(await session.scalars(text("SELECT request_id FROM reservations")))


async def test_usage_in_a_stream_that_was_flushed_is_stored_all_the_same(
    door: Door, database: Database, dsn: str
) -> None:
    with proxy(dsn, door.queue_url, door.provider.base, proxy_lease=timedelta(seconds=1)) as base:
        answer = await ask(base, door)
        await door.measured()
        async with redis.Redis.from_url(door.queue_url) as stream:
            await stream.delete(STREAM)
        assert await until(lambda: used(database)) == [answer.headers["x-request-id"]]
        assert await still_open(database) == []


@pytest.mark.parametrize("left", [PRO, 1_000])
async def test_without_redis_postgres_decides_and_counts(door: Door, database: Database, dsn: str, left: int) -> None:
    await spend(database, door, PRO - left + 1)
    with proxy(dsn, NOWHERE, door.provider.base) as base:
        first = await ask(base, door, max_completion_tokens=64)
        assert HEADER not in first.headers
        assert await until(lambda: written(database, first.headers["x-request-id"]))
        await spend(database, door, left)
        assert HEADER in (await ask(base, door)).headers
    assert len(door.provider.bodies) == 1


async def written(database: Database, request_id: str) -> bool:
    return request_id in await used(database)


async def test_with_neither_store_there_is_a_clear_503_and_no_call(door: Door) -> None:
    with proxy("postgresql://nobody@127.0.0.1:9/none", NOWHERE, door.provider.base) as base:
        answer = await ask(base, door)
    assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (503, True)
    assert door.provider.bodies == []


async def test_what_postgres_cannot_write_down_is_not_delivered(door: Door, database: Database) -> None:
    assert (await door.ask()).status_code == 200
    async with database.transaction() as session:
        await session.execute(text("ALTER TABLE reservations RENAME TO reservations_later"))
    answer = await door.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "journal_away")
    async with database.transaction() as session:
        await session.execute(text("ALTER TABLE reservations_later RENAME TO reservations"))
    assert await until(lambda: answered(door))


async def answered(door: Door) -> bool:
    return (await door.ask()).status_code == 200


async def test_the_open_call_stands_in_postgres_while_the_upstream_works(door: Door, dsn: str) -> None:
    door.provider.answer = door.provider.silent
    asking = asyncio.create_task(door.ask())
    connection = await asyncpg.connect(dsn)
    row = await until(lambda: connection.fetchrow("SELECT delivering, held_tokens FROM reservations"))
    assert (row["delivering"], row["held_tokens"] > 16_384) == (False, True)
    asking.cancel()

    async def gone() -> bool:
        return bool(await connection.fetchval("SELECT count(*) = 0 FROM reservations"))

    assert await until(gone)
    await connection.close()
