"""What ops see of the tables, and that nothing is shown that was not read."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from controller.core import clock, metrics
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import DatabaseSettings, QueueSettings
from controller.domain import boxes, inbox, jobs, letters, notices
from controller.domain.jobs import STUCK_AFTER
from controller.domain.lifecycle import LifecycleSettings
from controller.domain.standbys import StandbySettings
from controller.workers import sweeper
from controller.workers.sweeper import Pool, SweeperSettings
from tests import factories, standbys
from tests.proxy.conftest import bought
from tests.proxy.waiting import until

SETTINGS = SweeperSettings(sweep_interval=timedelta(milliseconds=20))


def shown(name: str, **labels: str) -> float | None:
    registry: CollectorRegistry = metrics.REGISTRY
    return registry.get_sample_value(name, labels)


async def swept(database: Database, queue: QueueSettings) -> None:
    await sweeper.sweep(database, Doorbell(queue), LifecycleSettings())


async def blind() -> bool:
    return shown("jobs", state="queued") is None


async def test_events_that_wait_and_events_set_aside_are_shown(database: Database, queue: QueueSettings) -> None:
    with clock.frozen(clock.now() - timedelta(minutes=5)):
        async with database.transaction() as session:
            for number in range(3):
                await inbox.put(session, "stripe", f"evt_{number}", "invoice.paid", {})
            first = await inbox.take(session, "stripe", "evt_0")
            assert first is not None
            first.set_aside_at = clock.now()
    await swept(database, queue)
    assert (shown("inbox_waiting", source="stripe"), shown("inbox_set_aside", source="stripe")) == (2, 1)
    assert 300 <= (shown("inbox_oldest_waiting_seconds", source="stripe") or 0) < 400
    assert shown("inbox_waiting", source="telegram") == 0


async def test_jobs_are_shown_by_state_and_age(database: Database, queue: QueueSettings) -> None:
    with clock.frozen(clock.now() - timedelta(minutes=10)):
        await bought(database)
    await swept(database, queue)
    assert [shown("jobs", state=state) for state in ("queued", "committed", "synced", "failed")] == [1, 0, 0, 0]
    assert 600 <= (shown("jobs_oldest_open_seconds", state="queued") or 0) < 700


async def test_notices_are_shown_until_they_are_sent(database: Database, queue: QueueSettings) -> None:
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        ids = await notices.write(session, await boxes.get(session, box_id), letters.AGENT_LIVE, "x")
        for notice_id in ids:
            claimed = await notices.claim(session, notice_id)
            if claimed is not None and claimed.channel == "email":
                notices.sent(claimed)
    await swept(database, queue)
    assert (
        shown("notices", channel="email", state="waiting"),
        shown("notices", channel="telegram", state="claimed"),
    ) == (0, 1)


async def test_while_postgres_is_away_nothing_old_is_shown(database: Database, queue: QueueSettings) -> None:
    await swept(database, queue)
    assert shown("jobs", state="queued") == 0
    away = Database(DatabaseSettings(postgres_dsn=SecretStr("postgresql://nobody@127.0.0.1:9/none")))
    stop = asyncio.Event()
    running = asyncio.create_task(sweeper.run(away, Doorbell(queue), SETTINGS, LifecycleSettings(), stop))
    await until(blind)
    stop.set()
    await running
    assert shown("sweeper_failures_total", error="database_away") == 1


async def test_the_sweeper_rings_for_notices_and_frees_what_a_dead_sender_held(
    database: Database, queue: QueueSettings
) -> None:
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        [one, _] = await notices.write(session, await boxes.get(session, box_id), letters.AGENT_LIVE, "x")
        assert await notices.claim(session, one) is not None
    before = shown("sweeper_rings_total", kind="notice") or 0
    await swept(database, queue)
    assert (shown("sweeper_rings_total", kind="notice") or 0) - before == 1
    with clock.frozen(clock.now() + notices.LEASE):
        await swept(database, queue)
    assert (shown("sweeper_rings_total", kind="notice") or 0) - before == 3


async def test_what_does_not_move_is_counted_by_kind(database: Database, queue: QueueSettings) -> None:
    with clock.frozen(clock.now() - 2 * STUCK_AFTER):
        await bought(database)
    await swept(database, queue)
    assert (shown("conditions", kind="not_committed"), shown("conditions", kind="drifted")) == (1, 0)


TWO = Pool(factories.mint(), StandbySettings(standby_pro=2))


async def test_the_pool_of_standbys_is_shown_by_plan(database: Database, queue: QueueSettings) -> None:
    async with database.transaction() as session:
        await standbys.ready(session, TWO.mint)
    await sweeper.keep_standbys(database, Doorbell(queue), TWO)
    assert [shown("standbys_wanted", plan=plan) for plan in ("pro", "team")] == [2, 0]
    assert [shown("standbys_ready", plan=plan) for plan in ("pro", "team")] == [1, 0]


@pytest.mark.parametrize(("minutes", "counted"), [(20, 1), (5, 0)])
async def test_a_standby_that_is_ended_for_being_too_slow_is_counted(
    database: Database, queue: QueueSettings, minutes: int, counted: int
) -> None:
    with clock.frozen(clock.now() - timedelta(minutes=minutes)):
        async with database.transaction() as session:
            box = await standbys.made(session, TWO.mint, "starter")
            for job in await jobs.open_of(session, box.id):
                jobs.committed(job, "a" * 40)
    before = shown("standbys_too_slow_total", plan="starter") or 0
    await sweeper.keep_standbys(database, Doorbell(queue), TWO)
    assert (shown("standbys_too_slow_total", plan="starter") or 0) - before == counted
