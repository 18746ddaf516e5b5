"""Usage from the stream into Postgres: every response once, whatever fails on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis
from pydantic import SecretStr
from sqlalchemy import func, select, text

from controller.core import clock, failpoints, ids, metrics
from controller.core.db import Database
from controller.core.settings import DatabaseSettings, QueueSettings
from controller.domain.measured import STREAM, Measured
from controller.domain.usage import UsageEvent
from controller.workers import metering
from controller.workers.metering import ASIDE, GROUP, Pace
from tests.proxy.conftest import bought
from tests.proxy.waiting import until

QUICK = Pace(gather=timedelta(milliseconds=20), takeover=timedelta(milliseconds=50), pause=timedelta(milliseconds=20))


@pytest.fixture
async def stream(queue_url: str) -> AsyncIterator[redis.Redis]:
    async with redis.Redis.from_url(queue_url) as opened:
        yield opened


@pytest.fixture
async def box_id(database: Database) -> str:
    return (await bought(database))[0]


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FAILPOINTS", "meter.inserted:raise:3")
    monkeypatch.setenv("FAILPOINT_LOG", str(tmp_path / "hits"))
    failpoints._armed.cache_clear()
    yield tmp_path / "hits"
    failpoints._armed.cache_clear()


@asynccontextmanager
async def metered(database: Database, queue: QueueSettings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(metering.run(database, queue, stop, QUICK))
    yield
    stop.set()
    async with asyncio.timeout(60):
        await task


async def put(stream: redis.Redis, box_id: str, count: int = 1, *, request_id: str | None = None) -> None:
    for _ in range(count):
        one = Measured(
            request_id=request_id or ids.new(), box_id=box_id, model="small",
            input_tokens=10, output_tokens=1, at=clock.now(),
        )  # fmt: skip
        await stream.xadd(STREAM, {"usage": one.model_dump_json()})


async def sums(database: Database) -> tuple[int, int]:
    """How many responses are recorded, and their input tokens."""
    async with database.transaction() as session:
        counted = await session.execute(select(func.count(), func.coalesce(func.sum(UsageEvent.input_tokens), 0)))
        rows, tokens = counted.one()
        return int(rows), int(tokens)


async def drained(stream: redis.Redis) -> None:
    """Return when nothing is in the stream and nothing is unacknowledged."""

    async def nothing_left() -> bool:
        groups: Any = await stream.xinfo_groups(STREAM)
        return bool(groups) and groups[0]["pending"] == 0 and await stream.xlen(STREAM) == 0

    await until(nothing_left)


async def test_a_response_told_twice_counts_once(
    database: Database, queue: QueueSettings, stream: redis.Redis, box_id: str
) -> None:
    await put(stream, box_id, 3, request_id="the-same")
    await put(stream, box_id, 2)
    await stream.xgroup_create(STREAM, GROUP, id="0")
    async with metered(database, queue):
        await drained(stream)
        await put(stream, box_id, request_id="the-same")
        await drained(stream)
    assert await sums(database) == (3, 30)


async def test_a_failure_between_insert_and_acknowledgement_changes_no_sum(
    database: Database, queue: QueueSettings, stream: redis.Redis, box_id: str, faults: Path
) -> None:
    await stream.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    await put(stream, box_id, 250)
    async with metered(database, queue):
        await drained(stream)
    assert await sums(database) == (250, 2500)
    assert len(faults.read_text().splitlines()) == 3


async def test_entries_of_a_meter_that_died_are_taken_over(
    database: Database, queue: QueueSettings, stream: redis.Redis, box_id: str
) -> None:
    await stream.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    await put(stream, box_id, 5)
    await stream.xreadgroup(GROUP, "one-that-died", {STREAM: ">"}, count=5)
    async with metered(database, queue):
        await drained(stream)
    assert await sums(database) == (5, 50)


@pytest.mark.parametrize("poison", [{"usage": "not json"}, {"other": "x"}, {"usage": "of a box that never was"}])
async def test_a_poisoned_entry_goes_aside_and_blocks_nobody(
    database: Database, queue: QueueSettings, stream: redis.Redis, box_id: str, poison: dict[Any, Any]
) -> None:
    await stream.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    await put(stream, box_id, 2)
    if "never was" in poison.get("usage", ""):
        await put(stream, ids.new())
    else:
        await stream.xadd(STREAM, poison)
    await put(stream, box_id, 2)
    async with metered(database, queue):
        await drained(stream)
    assert (await sums(database), await stream.xlen(ASIDE)) == ((4, 40), 1)


async def test_while_the_schema_is_behind_entries_wait_in_the_stream(
    database: Database, queue: QueueSettings, stream: redis.Redis, box_id: str
) -> None:
    await put(stream, box_id, 3)
    before = metrics.REGISTRY.get_sample_value("meter_failures_total") or 0
    async with database.transaction() as session:
        await session.execute(text("ALTER TABLE usage_events RENAME TO usage_events_later"))
    async with metered(database, queue):
        await until(lambda: _failed_turns(before + 2))
        assert (await stream.xlen(STREAM), await stream.xlen(ASIDE)) == (3, 0)
        async with database.transaction() as session:
            await session.execute(text("ALTER TABLE usage_events_later RENAME TO usage_events"))
        await drained(stream)
    assert await sums(database) == (3, 30)


async def test_the_group_comes_back_after_redis_forgot_everything(
    database: Database, queue: QueueSettings, stream: redis.Redis, box_id: str
) -> None:
    async with metered(database, queue):
        await put(stream, box_id)
        await until(lambda: _rows(database, 1))
        await stream.flushall()
        await put(stream, box_id)
        await until(lambda: _rows(database, 2))


async def test_while_postgres_is_away_the_backlog_and_its_age_are_shown(
    queue: QueueSettings, stream: redis.Redis, box_id: str
) -> None:
    await stream.xadd(STREAM, {"usage": "the oldest"}, id="1-1")
    await put(stream, box_id, 2)
    away = Database(DatabaseSettings(postgres_dsn=SecretStr("postgresql://nobody@127.0.0.1:9/none")))
    async with metered(away, queue):
        await until(lambda: _shown("meter_backlog_entries", 3))
    assert (metrics.REGISTRY.get_sample_value("meter_lag_seconds") or 0) > 10**9


async def _shown(name: str, value: float) -> bool:
    return metrics.REGISTRY.get_sample_value(name) == value


async def _failed_turns(count: float) -> bool:
    return (metrics.REGISTRY.get_sample_value("meter_failures_total") or 0) >= count


async def _rows(database: Database, count: int) -> bool:
    return (await sums(database))[0] == count
