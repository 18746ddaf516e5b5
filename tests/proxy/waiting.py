"""Waiting for a condition, bounded, without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.waits import PATIENCE

ValueT = TypeVar("ValueT")


async def until(probe: Callable[[], Awaitable[ValueT]], seconds: float = PATIENCE) -> ValueT:
    """The first true value of ``probe``; TimeoutError if none comes within ``seconds``."""
    async with asyncio.timeout(seconds):
        while not (value := await probe()):
            await asyncio.sleep(0.02)
    return value
