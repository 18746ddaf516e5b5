"""Waiting that ends when the process is told to stop."""

from __future__ import annotations

import asyncio
from datetime import timedelta


async def pause(stop: asyncio.Event, longest: timedelta) -> None:
    """Return when ``stop`` is set, or after ``longest``."""
    try:
        async with asyncio.timeout(longest.total_seconds()):
            await stop.wait()
    except TimeoutError:
        return
