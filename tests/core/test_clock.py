"""The clock can be stopped by a test, for its own task and those it starts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

from controller.core import clock

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_now_is_aware_and_in_utc() -> None:
    assert clock.now().tzinfo is UTC


def test_inside_the_block_time_stands_still_and_outside_it_goes_on() -> None:
    with clock.frozen(NOON):
        assert (clock.now(), clock.now()) == (NOON, NOON)
    assert clock.now() != NOON


def test_blocks_nest() -> None:
    with clock.frozen(NOON):
        with clock.frozen(NOON + timedelta(hours=1)):
            assert clock.now() == NOON + timedelta(hours=1)
        assert clock.now() == NOON


def test_another_zone_is_told_in_utc() -> None:
    with clock.frozen(datetime(2026, 11, 25, 9, tzinfo=timezone(timedelta(hours=-3)))):
        assert (clock.now(), clock.now().tzinfo) == (NOON, UTC)


async def test_tasks_started_inside_have_the_stopped_clock_and_others_have_not() -> None:
    async def told() -> datetime:
        return clock.now()

    with clock.frozen(NOON):
        inside = asyncio.create_task(told())
    outside = asyncio.create_task(told())
    assert await inside == NOON
    assert await outside != NOON


async def test_a_thread_started_inside_has_the_stopped_clock() -> None:
    with clock.frozen(NOON):
        assert await asyncio.to_thread(clock.now) == NOON
