"""A bell that is rung for later is heard then, not before."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta

import dramatiq

from controller.core import clock
from controller.core.queue import Bell, Doorbell, broker
from controller.core.settings import QueueSettings

BELL = Bell("later", "look")
HEARD_WITHIN = 20.0


async def test_a_bell_rung_for_later_is_heard_then_and_not_before(queue: QueueSettings) -> None:
    heard, times = threading.Event(), list[datetime]()
    made = broker(queue)

    def look(name: str) -> None:
        times.append(clock.now())
        heard.set()

    dramatiq.actor(broker=made, queue_name=BELL.queue, actor_name=BELL.actor)(look)
    worker = dramatiq.Worker(made, worker_threads=1)
    worker.start()
    due = clock.now() + timedelta(seconds=1)
    try:
        await Doorbell(queue).ring(BELL, "box", after=due - clock.now())
        assert await asyncio.to_thread(heard.wait, HEARD_WITHIN)
    finally:
        await asyncio.to_thread(worker.stop)
    assert times[0] >= due
