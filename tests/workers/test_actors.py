"""An actor never raises; what nobody foresaw, and what never ends, is counted."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from controller.core.errors import CloudError, Temporary
from controller.workers import actors


async def never(_: str) -> None:
    await asyncio.Event().wait()


async def crash(_: str) -> None:
    raise KeyError("odd")


async def wait(_: str) -> None:
    raise Temporary("stripe_away")


@pytest.mark.parametrize(("work", "counted"), [(never, ["evt_1"]), (crash, ["evt_1"]), (wait, [])])
async def test_what_never_ends_is_counted_like_a_crash_and_what_waits_is_not(
    work: actors.Work, counted: list[str]
) -> None:
    heard: list[str] = []

    async def count(error: CloudError, event_id: str) -> None:
        assert error.code == "actor_crashed"
        heard.append(event_id)

    await actors.guarded("handle_event", work, count, limit=timedelta(milliseconds=20))("evt_1")
    assert heard == counted
