"""What was used: each measured response goes to the stream, to Postgres when Redis is away, or waits for either.

It is remembered here until Postgres is seen to have it: a stream that was lost with its Redis loses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg

from controller.core import clock, failpoints
from controller.core import log as logs
from controller.domain.measured import ROLL_UP, STREAM, Measured
from proxy import scripts
from proxy.lines import Line, RedisAway
from proxy.postgres import LOST

log = logs.get(__name__)

MOST_WAITING = 100_000
"""Responses kept in memory while both stores are away: beyond it the oldest is logged in full and dropped."""

BATCH = 100
RETRY_SECONDS = 1.0
_NAMES = tuple(Measured.model_fields)
_INSERT = f"""
INSERT INTO usage_events ({", ".join(_NAMES)}) VALUES ({", ".join(f"${n}" for n in range(1, len(_NAMES) + 1))})
ON CONFLICT (request_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _NAMES[1:])}
WHERE usage_events.estimated AND NOT excluded.estimated RETURNING box_id
"""  # noqa: S608, our own column names
_CLOSE = "DELETE FROM reservations WHERE request_id = $1"
_LOCK = "SELECT id FROM subscriptions WHERE box_id = $1 FOR NO KEY UPDATE"
_ROLL_UP = ROLL_UP.format(boxes="ARRAY[$1::text]", periods="ARRAY[$2::timestamptz]", now="$3")
_STILL_OPEN = "SELECT request_id FROM reservations WHERE request_id = ANY($1::text[])"


@dataclass(frozen=True)
class _Item:
    measured: Measured
    quota_key: str
    handed: asyncio.Future[None] = field(compare=False)


class Meter:
    """Hands measurements on. ``queue`` is where the stream is, ``counts`` where quotas are counted."""

    def __init__(self, queue: Line, counts: Line, pool: asyncpg.Pool, lease: timedelta) -> None:
        self._queue = queue
        self._counts = counts
        self._pool = pool
        self._lease = lease
        self._waiting: deque[_Item] = deque()
        self._handed: dict[str, tuple[Measured, float]] = {}
        """In the stream or in Postgres, and not yet seen to be closed there; since when."""
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, measured: Measured, quota_key: str) -> asyncio.Future[None]:
        """Take one measurement, which is handed on in the background; done when a store has it."""
        if len(self._waiting) >= MOST_WAITING:
            log.error("meter.dropped", usage=self._waiting.popleft().measured.model_dump(mode="json"))
        item = _Item(measured, quota_key, asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        self._empty.clear()
        self._arrived.set()
        return item.handed

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

    async def confirm(self) -> None:
        """Until cancelled, store directly what was handed on half a lease ago and Postgres still holds open.

        The stream may have been lost, or a commit of the journal was overtaken by what closed its call.
        """
        patience = self._lease.total_seconds() / 2
        while True:
            await asyncio.sleep(patience / 2)
            before = time.monotonic() - patience
            late = [one for one, at in self._handed.values() if at <= before]
            try:
                await self._confirm(late)
            except LOST as error:
                log.warning("meter.postgres_away", error=type(error).__name__)

    async def drain(self, seconds: float = 5.0) -> None:
        """Return when all is handed on, or after ``seconds``; what is left then is logged in full."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            for item in self._waiting:
                log.error("meter.left_behind", usage=item.measured.model_dump(mode="json"))

    async def _confirm(self, late: list[Measured]) -> None:
        if not late:
            return
        async with asyncio.timeout(5):
            rows = await self._pool.fetch(_STILL_OPEN, [one.request_id for one in late])
        still_open = {row[0] for row in rows}
        for one in late:
            if one.request_id not in still_open or await self._insert(one):
                self._handed.pop(one.request_id, None)

    def _forget(self, batch: list[_Item]) -> None:
        handed = {item.measured.request_id for item in batch}
        while self._waiting and self._waiting[0].measured.request_id in handed:
            item = self._waiting.popleft()
            if not item.handed.done():
                item.handed.set_result(None)

    async def _hand_on(self, batch: list[_Item]) -> bool:
        failpoints.hit("proxy.measured")
        measured = [item.measured for item in batch]
        # together: where one Redis is both, they are one round trip
        _, streamed = await asyncio.gather(self._settle(batch), self._stream(measured))
        if streamed:
            failpoints.hit("proxy.handed_on")
        else:
            for one in measured:
                if not await self._insert(one):
                    return False  # the rest would wait for the same Postgres, each for seconds
        self._handed |= {one.request_id: (one, time.monotonic()) for one in measured}
        return True

    async def _stream(self, measured: list[Measured]) -> bool:
        """Whether the stream has them."""
        try:
            await self._queue.ask_all([("XADD", STREAM, "*", "usage", one.text) for one in measured])
        except RedisAway as error:
            log.warning("meter.stream_away", error=type(error).__name__)
            return False
        return True

    async def _settle(self, batch: Sequence[_Item]) -> None:
        lease_ms = int(self._lease.total_seconds() * 1000)
        calls = [
            (item.quota_key, (one.request_id, one.input_tokens + one.output_tokens, lease_ms))
            for item in batch
            for one in (item.measured,)
        ]
        try:
            await self._counts.run_all(scripts.SETTLE, calls)
        except RedisAway:
            return  # they count for what they held until Redis compares itself with Postgres

    async def _insert(self, one: Measured) -> bool:
        """Whether the row is there or can never be."""
        try:
            async with asyncio.timeout(5):
                await self._record(one)
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
            log.error("meter.refused", error=type(error).__name__, usage=one.model_dump(mode="json"))
        except LOST as error:
            log.warning("meter.postgres_away", error=type(error).__name__)
            return False
        return True

    async def _record(self, one: Measured) -> None:
        """What the meter does with an entry, since it may not see this one: the row, and with it the sums."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_CLOSE, one.request_id)
            if await connection.fetchval(_INSERT, *one.model_dump().values()) is not None:
                await connection.execute(_LOCK, one.box_id)
                await connection.execute(_ROLL_UP, one.box_id, one.period_start, clock.now())
