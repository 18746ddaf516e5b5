"""Waiting for what the cluster's loops, which run on the test's own event loop, bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(look: Callable[[], object], seconds: float = 30.0) -> None:
    """Return once ``look`` says something true; TimeoutError if it does not within ``seconds``."""
    async with asyncio.timeout(seconds):
        while not look():
            await asyncio.sleep(0.01)
