"""What still waits is looked at again, however much else happens in the cell."""

from __future__ import annotations

import asyncio
from typing import Any

from controller.workers import watcher

APPLICATION: dict[str, Any] = {"metadata": {"name": "01k"}}


async def test_a_cell_that_is_never_quiet_does_not_put_off_the_second_look() -> None:
    arrivals: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    arrivals.put_nowait(APPLICATION)
    now = asyncio.get_running_loop().time()
    assert await watcher._next(arrivals, now) is None
    seen = await watcher._next(arrivals, now + 60)
    assert seen is not None
    assert seen.box_id == "01k"
