"""A queue that hangs costs whoever rings one short wait, not one for each ring."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from controller.core.queue import Bell, Doorbell
from controller.core.settings import QueueSettings

BELL = Bell("billing", "handle_event")
RINGS = 60


@pytest.fixture
def hanging() -> Iterator[QueueSettings]:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as silent:
        yield QueueSettings(queue_redis_url=SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))


async def test_many_rings_at_a_hanging_queue_return_together(hanging: QueueSettings) -> None:
    bell = Doorbell(hanging)
    async with asyncio.timeout(20):
        await asyncio.gather(*(bell.ring(BELL, str(number)) for number in range(RINGS)))
