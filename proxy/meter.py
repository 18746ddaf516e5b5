"""What was used: each measured response goes to the stream, to Postgres when Redis is away, or waits for either."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

import asyncpg
import redis.asyncio as redis

from controller.core import clock
from controller.core import log as logs
from controller.domain.measured import ROLL_UP, STREAM, Measured
from proxy.reading import Reader, estimate

log = logs.get(__name__)

MOST_WAITING = 100_000
"""Responses kept in memory while both stores are away: beyond it the oldest is logged in full and dropped."""

BATCH = 100
RETRY_SECONDS = 1.0
AVOID_SECONDS = 5.0
"""How long Redis is not asked after it failed: a Redis that hangs must not slow the way to Postgres."""

MOST_TOKENS = 2**40
_INSERT = """
INSERT INTO usage_events (request_id, box_id, model, input_tokens, output_tokens, cached_tokens, reasoning_tokens,
  estimated, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING box_id
"""
_LOCK = "SELECT id FROM subscriptions WHERE box_id = $1 FOR NO KEY UPDATE"
_ROLL_UP = ROLL_UP.format(boxes="ARRAY[$1]", now="$2")


class Meter:
    """Hands measurements on, never in the way of a response."""

    def __init__(self, stream: redis.Redis, pool: asyncpg.Pool) -> None:
        self._stream = stream
        self._pool = pool
        self._waiting: deque[Measured] = deque()
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._avoid_until = 0.0

    def put(self, measured: Measured) -> None:
        """Take one measurement; it is handed on in the background."""
        if len(self._waiting) >= MOST_WAITING:
            log.error("meter.dropped", usage=self._waiting.popleft().model_dump(mode="json"))
        self._waiting.append(measured)
        self._empty.clear()
        self._arrived.set()

    async def run(self) -> None:
        """Hand on what arrives, in order, until cancelled. An unknown outcome is repeated: the request id is unique."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = list(self._waiting)[:BATCH]
                if await self._hand_on(batch):
                    self._forget(batch)
                else:
                    await asyncio.sleep(RETRY_SECONDS)
            self._empty.set()

    async def drain(self, seconds: float = 5.0) -> None:
        """Return when all is handed on, or after ``seconds``; what is left then is logged in full."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            for one in self._waiting:
                log.error("meter.left_behind", usage=one.model_dump(mode="json"))

    def _forget(self, batch: list[Measured]) -> None:
        handed = {one.request_id for one in batch}
        while self._waiting and self._waiting[0].request_id in handed:
            self._waiting.popleft()

    async def _hand_on(self, batch: list[Measured]) -> bool:
        if time.monotonic() >= self._avoid_until:
            try:
                await self._add(batch)
            except (redis.RedisError, OSError) as error:
                self._avoid_until = time.monotonic() + AVOID_SECONDS
                log.warning("meter.stream_away", error=type(error).__name__)
            else:
                return True
        for one in batch:
            if not await self._insert(one):
                return False  # the rest would wait for the same Postgres, each for seconds
        return True

    async def _add(self, batch: list[Measured]) -> None:
        async with self._stream.pipeline(transaction=False) as pipeline:
            for one in batch:
                pipeline.xadd(STREAM, {"usage": one.model_dump_json()})
            await pipeline.execute()

    async def _insert(self, one: Measured) -> bool:
        """Whether the row is there or can never be."""
        try:
            async with asyncio.timeout(5):
                await self._record(one)
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
            log.error("meter.refused", error=type(error).__name__, usage=one.model_dump(mode="json"))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("meter.postgres_away", error=type(error).__name__)
            return False
        return True

    async def _record(self, one: Measured) -> None:
        """What the meter does with an entry, since it will not see this one: the row, and with it the sums."""
        async with self._pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(_INSERT, *one.model_dump().values()) is not None:
                await connection.execute(_LOCK, one.box_id)
                await connection.execute(_ROLL_UP, one.box_id, clock.now())


def measure(request_id: str, box_id: str, model: str, prompt_bytes: int, read: Reader) -> Measured:
    """The measurement of one response: the provider's figures, or ours from what was delivered, marked estimated."""
    usage = read.usage or {}
    spent, made = _figure(usage.get("prompt_tokens")), _figure(usage.get("completion_tokens"))
    return Measured(
        request_id=request_id,
        box_id=box_id,
        model=model,
        input_tokens=estimate(prompt_bytes) if spent is None else spent,
        output_tokens=estimate(read.delivered_bytes) if made is None else made,
        cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=_detail(usage, "completion_tokens_details", "reasoning_tokens"),
        estimated=spent is None or made is None,
        at=clock.now(),
    )


def _figure(value: object) -> int | None:
    """``value`` if it can be a number of tokens: what a provider says is not trusted to be one."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if fits and isinstance(value, int) else None


def _detail(usage: dict[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return (_figure(details.get(name)) or 0) if isinstance(details, dict) else 0
