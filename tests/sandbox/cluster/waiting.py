"""Waiting for what the cluster's loops, which run on the test's own event loop, bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence


async def until(look: Callable[[], object], seconds: float = 90.0) -> None:
    """Return once ``look`` says something true; TimeoutError if it does not within ``seconds``."""
    async with asyncio.timeout(seconds):
        while not look():
            await asyncio.sleep(0.01)


async def end(loops: Sequence[asyncio.Task[None]]) -> None:
    """End the loops, none of which may have ended on its own."""
    assert not [loop for loop in loops if loop.done()], "a loop ended on its own"
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
