"""The step that every few seconds takes a rollout on: what it rings for, what it survives, and what ops see of it."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from pathlib import Path

import pytest
import redis.asyncio
from pydantic import SecretStr
from sqlalchemy import select

from controller.core import failpoints
from controller.core.db import Database
from controller.core.failpoints import InjectedFault
from controller.core.queue import Doorbell
from controller.core.settings import DatabaseSettings, QueueSettings
from controller.domain import releases, rollouts
from controller.domain.boxes import Box
from controller.domain.releases import Rollout
from controller.domain.rollouts import Pace
from controller.workers import rollouts as working
from controller.workers.rollouts import RolloutSettings
from tests.domain import fleets
from tests.domain.fleets import NEW, QUICK
from tests.proxy.waiting import until
from tests.waits import blocked
from tests.workers.test_health import shown

POINT = "rollout.stepped"
OFTEN = RolloutSettings(rollout_interval=timedelta(milliseconds=10))


async def begun(database: Database, *rings: int, pace: Pace = QUICK) -> tuple[Rollout, list[str]]:
    """A rollout before its first step, and boxes in these rings."""
    async with database.transaction() as session:
        fleet = [(await fleets.box(session, ring)).id for ring in rings]
        return await rollouts.start(session, NEW, pace, "admin"), fleet


async def on_new(database: Database) -> set[str]:
    async with database.transaction() as session:
        return await fleets.on(session)


async def rung(queue_url: str) -> int:
    """How often the writer was rung for."""
    async with redis.asyncio.Redis.from_url(queue_url) as waiting:
        return len(await waiting.lrange("oc:gitops", 0, -1))


async def test_the_writer_is_rung_for_when_there_is_something_to_write(
    database: Database, queue: QueueSettings, queue_url: str
) -> None:
    _, fleet = await begun(database, 0)
    await working.step(database, Doorbell(queue))
    assert (await on_new(database), await rung(queue_url)) == ({*fleet}, 1)
    await working.step(database, Doorbell(queue))
    assert await rung(queue_url) == 1


async def test_a_step_that_breaks_off_is_not_taken_twice(
    database: Database, queue: QueueSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begun(database, 0, 0, 0)
    monkeypatch.setenv("FAILPOINTS", f"{POINT}:raise")
    monkeypatch.setenv("FAILPOINT_LOG", str(tmp_path / "hits"))
    failpoints._armed.cache_clear()
    with pytest.raises(InjectedFault):
        await working.step(database, Doorbell(queue))
    await working.step(database, Doorbell(queue))
    failpoints._armed.cache_clear()
    assert len(await on_new(database)) == 1


async def test_two_that_step_at_once_move_a_box_once(database: Database, queue: QueueSettings) -> None:
    await begun(database, *[0] * 6)
    await asyncio.gather(*(working.step(database, Doorbell(queue)) for _ in range(4)))
    assert len(await on_new(database)) == 1


async def test_ops_see_the_state_the_ring_and_the_boxes(database: Database, queue: QueueSettings) -> None:
    await begun(database, 1, 1, 3)
    await working.step(database, Doorbell(queue))
    assert (shown("rollout_state", state="running"), shown("rollout_state", state="stopped")) == (1, 0)
    assert shown("rollout_ring") == 1
    assert [shown("rollout_boxes", state=state) for state in ("waiting", "under_way", "healthy")] == [2, 1, 0]


async def test_a_rollout_that_stopped_is_seen_until_ops_have_dealt_with_it(
    database: Database, queue: QueueSettings
) -> None:
    rollout, fleet = await begun(database, 0, 1)
    await working.step(database, Doorbell(queue))
    async with database.transaction() as session:
        await fleets.refused(session, await session.get_one(Box, fleet[0]))
    for _ in range(2):
        await working.step(database, Doorbell(queue))
        assert (shown("rollout_state", state="stopped"), shown("rollout_boxes", state="failed")) == (1, 1)
    async with database.transaction() as session:
        await rollouts.abort(session, rollout.id)
    await working.step(database, Doorbell(queue))
    assert shown("rollout_state", state="stopped") == 0


async def test_nothing_is_shown_where_there_never_was_a_rollout(database: Database, queue: QueueSettings) -> None:
    await working.step(database, Doorbell(queue))
    assert (shown("rollout_state", state="running"), math.isnan(shown("rollout_ring") or 0)) == (None, True)


async def test_steps_are_taken_until_the_stop_also_after_one_that_failed(queue: QueueSettings) -> None:
    away = Database(DatabaseSettings(postgres_dsn=SecretStr("postgresql://nobody@127.0.0.1:9/none")))
    stop, before = asyncio.Event(), shown("rollout_failures_total", error="database_away") or 0

    async def failed_twice() -> bool:
        return (shown("rollout_failures_total", error="database_away") or 0) >= before + 2

    running = asyncio.create_task(working.run(away, Doorbell(queue), OFTEN, stop))
    await until(failed_twice)
    stop.set()
    await running


async def test_a_box_that_is_being_made_while_the_last_step_is_taken_is_not_forgotten(
    database: Database, queue: QueueSettings
) -> None:
    await begun(database)
    async with database.transaction() as session:
        assert await releases.in_force(session, 2, "2026.11.1") == "2026.11.1"
        stepping = asyncio.create_task(working.step(database, Doorbell(queue)))
        await until(lambda: blocked(database))
        late = await fleets.box(session)
    await stepping
    async with database.transaction() as session:
        (rollout,) = await rollouts.newest(session)
        assert (rollout.state, await session.scalar(select(Box.release).where(Box.id == late.id))) == ("running", NEW)
