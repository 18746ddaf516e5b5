"""Measurements as rows: each once, gaps stay gaps, the old ones go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controller.core import clock, ids
from controller.core.db import Database
from controller.domain import pod_metrics
from controller.domain.pod_metrics import Measurement, PodMetricsSettings
from tests.proxy.conftest import bought

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
async def box_id(database: Database) -> str:
    return (await bought(database))[0]


async def recorded(database: Database, *measured: Measurement) -> int:
    async with database.transaction() as session:
        return await pod_metrics.record(session, measured)


async def rows(database: Database, box_id: str) -> list[tuple[datetime, int, int]]:
    async with database.transaction() as session:
        found = await pod_metrics.since(session, box_id, AT - timedelta(days=99))
    return [(one.at, one.cpu_millicores, one.memory_bytes) for one in found]


async def test_a_measurement_read_twice_is_stored_once(database: Database, box_id: str) -> None:
    one = Measurement(box_id, AT, 250, 900 * 2**20)
    assert [await recorded(database, one), await recorded(database, one)] == [1, 0]
    assert await rows(database, box_id) == [(AT, 250, 900 * 2**20)]


async def test_a_box_that_was_not_measured_has_a_gap_and_no_zero(database: Database, box_id: str) -> None:
    for minutes in (0, 10):
        await recorded(database, Measurement(box_id, AT + timedelta(minutes=minutes), 100, 2**30))
    await recorded(database)
    assert [at for at, _, _ in await rows(database, box_id)] == [AT, AT + timedelta(minutes=10)]


async def test_a_namespace_that_is_no_box_of_ours_is_left_out(database: Database, box_id: str) -> None:
    assert await recorded(database, Measurement(ids.new(), AT, 1, 1), Measurement(box_id, AT, 1, 1)) == 1


async def test_what_is_older_than_the_retention_goes(database: Database, box_id: str) -> None:
    settings = PodMetricsSettings(pod_metrics_retention=timedelta(days=2))
    for days in range(4):
        await recorded(database, Measurement(box_id, AT - timedelta(days=days), 1, 1))
    with clock.frozen(AT):
        async with database.transaction() as session:
            await pod_metrics.forget(session, settings)
    assert [at for at, _, _ in await rows(database, box_id)] == [AT - timedelta(days=days) for days in (2, 1, 0)]
