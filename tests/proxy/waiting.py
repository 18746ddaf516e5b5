"""Waiting for a condition, bounded, without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

ValueT = TypeVar("ValueT")

PATIENCE = 60.0
"""For what takes a moment, on a machine that is busy otherwise: only a test that fails waits so long."""


async def until(probe: Callable[[], Awaitable[ValueT]], seconds: float = PATIENCE) -> ValueT:
    """The first true value of ``probe``; TimeoutError if none comes within ``seconds``."""
    async with asyncio.timeout(seconds):
        while not (value := await probe()):
            await asyncio.sleep(0.02)
    return value
