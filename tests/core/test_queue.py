"""A ring is a message for the right actor; a queue that is away costs a log line and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import redis
from structlog.testing import capture_logs

from controller.core.queue import Bell, Doorbell
from controller.core.settings import QueueSettings
from controller.sandbox.processes import free_port
from controller.sandbox.valkey import Valkey
from tests.proxy.waiting import until

BELL = Bell("billing", "handle_event")
LONGEST = 60


def messages(url: str) -> list[dict[str, Any]]:
    """What waits in the queue of ``BELL``."""
    with redis.Redis.from_url(url) as opened:
        stored: Any = opened.hvals("oc:billing.msgs")
        return [json.loads(one) for one in stored]


async def test_a_ring_leaves_one_message_with_the_ids(queue: QueueSettings) -> None:
    await Doorbell(queue).ring(BELL, "evt_1", "evt_2")
    (message,) = messages(queue.queue_redis_url.get_secret_value())
    assert (message["queue_name"], message["actor_name"]) == ("billing", "handle_event")
    assert message["args"] == ["evt_1", "evt_2"]


async def test_a_queue_that_never_was_there_is_logged_and_not_raised() -> None:
    bell = Doorbell(QueueSettings(queue_redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    with capture_logs() as logs:
        await bell.ring(BELL, "evt_1")
    assert [(line["event"], line["actor"]) for line in logs] == [("queue.ring_lost", "handle_event")]


async def test_a_queue_that_goes_away_and_comes_back_rings_again(data: Path, tmp_path: Path) -> None:
    server = Valkey("unit-queue", tmp_path / "queue", data / "logs", queue=True)
    await server.start()
    bell = Doorbell(QueueSettings(queue_redis_url=server.url))
    await until(lambda: heard(bell, server.url, "evt_1"), LONGEST)
    await server.stop()
    with capture_logs() as logs:
        await until(lambda: lost(bell, logs, "evt_2"), LONGEST)
    await server.start()
    await until(lambda: heard(bell, server.url, "evt_3"), LONGEST)
    told = {message["args"][0] for message in messages(server.url)}
    await server.stop()
    assert ({line["event"] for line in logs}, told) == ({"queue.ring_lost"}, {"evt_1", "evt_3"})


async def heard(bell: Doorbell, url: str, event_id: str) -> bool:
    """Whether a ring has come through: one that takes too long on a busy machine has the bell silent for a while."""
    await bell.ring(BELL, event_id)
    return [event_id] in [message["args"] for message in messages(url)]


async def lost(bell: Doorbell, logs: list[Any], event_id: str) -> bool:
    """Whether a ring has been tried in vain."""
    await bell.ring(BELL, event_id)
    return bool(logs)


async def test_a_queue_that_refuses_writes_is_logged_and_not_raised(queue: QueueSettings) -> None:
    url = queue.queue_redis_url.get_secret_value()
    with redis.Redis.from_url(url) as opened:
        opened.config_set("maxmemory", "1")
        try:
            with capture_logs() as logs:
                await Doorbell(queue).ring(BELL, "evt_1")
        finally:
            opened.config_set("maxmemory", "0")
    assert [line["event"] for line in logs] == ["queue.ring_lost"]
