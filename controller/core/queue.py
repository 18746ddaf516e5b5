"""Dramatiq as a doorbell: a message carries an id, and losing it costs latency only.

Retries and schedules live in Postgres; the sweeper sends again what was lost.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from datetime import timedelta

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, AsyncIO, Callbacks, Pipelines, ShutdownNotifications, TimeLimit
from redis.backoff import NoBackoff
from redis.retry import Retry

from controller.core import log as logs
from controller.core.errors import foreign
from controller.core.settings import QueueSettings

log = logs.get(__name__)

HEARTBEAT_MS = 60_000
MAINTENANCE_PER_MILLION = 100_000
"""10 % of commands run maintenance. The default, 0.1 %, leaves a dead worker's messages for an hour."""
DEAD_MESSAGE_MS = 30 * 86_400_000
LONGEST_NAP_MS = 100
"""The longest an idle consumer sleeps between looks. Dramatiq's own, 1 s, is paid twice before a commit."""
RING_SECONDS = 2.0
"""The longest a caller waits for a ring. An answer to an event must not wait longer for a queue that hangs."""
SILENT_SECONDS = 5.0
"""How long nobody rings after a ring that hung: the sweeper will, and each try at such a queue takes seconds."""


class PromptBroker(RedisBroker):
    """A broker whose idle consumers look ten times a second."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
        """The consumer of ``queue_name``; ``timeout`` (ms) is cut to ours."""
        return super().consume(queue_name, prefetch, min(timeout, LONGEST_NAP_MS))


def broker(settings: QueueSettings, *, working: bool = False) -> RedisBroker:
    """The broker; ``working`` adds what only a worker process needs (its event loop and time limits).

    Only a worker tries again by itself: whoever rings has the sweeper behind it.
    The Retries middleware is left out on purpose: it loses running jobs' retries in a Redis outage.
    """
    middleware: list[dramatiq.Middleware] = [AgeLimit(), Callbacks(), Pipelines()]
    if working:
        middleware += [TimeLimit(), ShutdownNotifications(), AsyncIO()]
    # Dramatiq hands its own `url` to the pool without the time-outs beside it.
    client = redis.Redis.from_url(
        settings.queue_redis_url.get_secret_value(),
        socket_timeout=2,
        socket_connect_timeout=1,
        **({} if working else {"retry": Retry(NoBackoff(), 0)}),
    )
    return PromptBroker(  # type: ignore[no-untyped-call]
        client=client,
        namespace="oc",
        heartbeat_timeout=HEARTBEAT_MS,
        maintenance_chance=MAINTENANCE_PER_MILLION,
        dead_message_ttl=DEAD_MESSAGE_MS,
        middleware=middleware,
    )


@dataclass(frozen=True)
class Bell:
    """An actor by name, and the queue that its worker listens on."""

    queue: str
    actor: str


class Doorbell:
    """Rings actors by name, so that whoever rings imports no worker code."""

    def __init__(self, settings: QueueSettings) -> None:
        self._broker = broker(settings)
        self._silent_until = 0.0

    async def ring(self, bell: Bell, *ids: str, after: timedelta = timedelta(0)) -> None:
        """Ask the bell's actor to look at ``ids``, ``after`` a while; a queue that is away is logged, never raised.

        After a ring that hung the next ones are not even tried for ``SILENT_SECONDS``.
        """
        try:
            async with asyncio.timeout(RING_SECONDS):
                await asyncio.to_thread(self._send, bell, ids, after)
        except TimeoutError:
            self._silent_until = time.monotonic() + SILENT_SECONDS
            log.warning("queue.ring_lost", queue=bell.queue, actor=bell.actor, reason="no answer in time")

    def _send(self, bell: Bell, ids: tuple[str, ...], after: timedelta) -> None:
        if time.monotonic() < self._silent_until:
            return
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=bell.queue, actor_name=bell.actor, args=ids, kwargs={}, options={}
        )
        milliseconds = math.ceil(after.total_seconds() * 1000)
        try:
            self._broker.declare_queue(bell.queue)
            self._broker.enqueue(message, delay=milliseconds if milliseconds > 0 else None)
        except (redis.RedisError, dramatiq.errors.BrokerConnectionError) as exc:
            log.warning("queue.ring_lost", queue=bell.queue, actor=bell.actor, reason=foreign(exc))
