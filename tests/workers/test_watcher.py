"""What still waits is looked at again, however much else happens in the cell."""

from __future__ import annotations

import asyncio
from typing import Any

from controller.clients.kubernetes import Change
from controller.workers import watcher

APPLICATION: dict[str, Any] = {"metadata": {"name": "01k"}}
CHANGE = Change("MODIFIED", APPLICATION)


async def test_a_cell_that_is_never_quiet_does_not_put_off_the_second_look() -> None:
    arrivals: asyncio.Queue[Change] = asyncio.Queue()
    arrivals.put_nowait(CHANGE)
    now = asyncio.get_running_loop().time()
    assert await watcher._next(arrivals, now) is None
    assert await watcher._next(arrivals, now + 60) is CHANGE
