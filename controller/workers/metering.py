"""The meter: usage from the stream into Postgres, once per request id, acknowledged after the commit.

It also settles what dead proxies left open, and has customers told who have nearly used up their plan.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import redis.asyncio as redis
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from controller.core import clock, db, failpoints, metrics, stops
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError, Permanent, Temporary, foreign
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.domain import bells, reminders, usage
from controller.domain.measured import STREAM, Measured

log = logs.get(__name__)

STORED = metrics.counter("meter_entries", "Entries taken from the stream, by what became of them", "outcome")
BACKLOG = metrics.gauge("meter_backlog_entries", "Entries in the stream that are not in Postgres yet")
LAG = metrics.gauge("meter_lag_seconds", "Age of the oldest entry that is not in Postgres yet")
ASIDES = metrics.gauge("meter_set_aside", "Entries that could not be read or stored, for a human to look at")
RECOVERED = metrics.counter("meter_recovered", "Open calls of proxies that died, settled here")
FAILURES = metrics.counter("meter_failures", "Turns that failed because Redis or Postgres was away")

GROUP = "meter"
ASIDE = "oc:usage:aside"
BATCH = 100
_BLOCK_MS = 500
_Entry = tuple[bytes, dict[bytes, bytes]]


class Unstorable(Permanent):
    """Raised when Postgres can never hold one of the entries."""


class StoreAway(Temporary):
    """Raised when Postgres refuses entries for a reason that is not theirs."""


@dataclass(frozen=True)
class Pace:
    """How patient the meter is."""

    gather: timedelta = timedelta(seconds=1)
    """How long a batch that is not full waits for more, so that light traffic costs one transaction a second."""

    takeover: timedelta = timedelta(seconds=30)
    """An entry that another consumer took and did not finish for this long is taken over."""

    pause: timedelta = timedelta(seconds=1)
    """After a failure of Redis or Postgres."""

    settle: timedelta = timedelta(seconds=3)
    """How often dead proxies are looked for, and plans that are nearly used up."""


_CALM = Pace()


async def run(database: Database, queue: QueueSettings, stop: asyncio.Event, pace: Pace = _CALM) -> None:
    """Consume until ``stop`` is set; while Redis or Postgres is away entries wait in the stream."""
    url = queue.queue_redis_url.get_secret_value()
    async with (
        asyncio.TaskGroup() as group,
        redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as stream,
    ):
        group.create_task(_settle(database, Doorbell(queue), stop, pace))
        meter = _Consumer(database, stream, stop, pace)
        while not stop.is_set():
            try:
                await meter.turn()
            except (redis.RedisError, OSError, CloudError) as error:
                FAILURES.inc()
                log.warning("metering.waits", error=foreign(error))
                await stops.pause(stop, pace.pause)


async def _settle(database: Database, bell: Doorbell, stop: asyncio.Event, pace: Pace) -> None:
    while not stop.is_set():
        try:
            await recover(database)
            async with database.transaction() as session:
                told = await reminders.write_usage(session)
            for notice_id in told:
                await bell.ring(bells.NOTICE, notice_id)
        except CloudError as error:
            FAILURES.inc()
            log.warning("metering.settling_waits", error=foreign(error))
        await stops.pause(stop, pace.settle)


async def recover(database: Database) -> None:
    """What dead proxies left open is settled. Raises DatabaseAway."""
    while True:
        async with database.transaction() as session:
            settled = await usage.recover(session)
        if not settled:
            return
        RECOVERED.inc(settled)
        log.info("metering.recovered", calls=settled)


class _Consumer:
    def __init__(self, database: Database, stream: redis.Redis, stop: asyncio.Event, pace: Pace) -> None:
        self._database = database
        self._stream = stream
        self._stop = stop
        self._pace = pace
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._unfinished = True
        """Whether we may hold entries that we took and did not acknowledge: after a start and a failure."""

    async def turn(self) -> None:
        """Take a batch and store it; the group is made again if Redis forgot it."""
        await self._look()
        try:
            entries = await self._take()
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self._make_group()
            return
        if entries:
            self._unfinished = True
            await self._store(entries)
        self._unfinished = bool(entries)

    async def _look(self) -> None:
        """Show how far behind we are: a stored entry is deleted, so the stream's first is the oldest unfinished."""
        async with self._stream.pipeline(transaction=False) as pipeline:
            pipeline.xlen(STREAM)
            pipeline.xrange(STREAM, count=1)
            pipeline.xlen(ASIDE)
            backlog, first, aside = await pipeline.execute()
        BACKLOG.set(backlog)
        ASIDES.set(aside)
        LAG.set(max(0.0, clock.now().timestamp() - _written_at(first[0][0])) if first else 0)

    async def _take(self) -> list[_Entry]:
        if self._unfinished:
            return await self._read("0")
        minimum_ms = int(self._pace.takeover.total_seconds() * 1000)
        claimed: Any = await self._stream.xautoclaim(STREAM, GROUP, self._name, minimum_ms, count=BATCH)
        if claimed[1]:
            return list(claimed[1])
        fresh = await self._read(">", BATCH, _BLOCK_MS)
        if 0 < len(fresh) < BATCH:
            await stops.pause(self._stop, self._pace.gather)
            fresh += await self._read(">", BATCH - len(fresh))
        return fresh

    async def _read(self, start: str, count: int = BATCH, block_ms: int | None = None) -> list[_Entry]:
        read: Any = await self._stream.xreadgroup(GROUP, self._name, {STREAM: start}, count=count, block=block_ms)
        return [(entry_id, fields or {}) for _, entries in read or () for entry_id, fields in entries]

    async def _make_group(self) -> None:
        try:
            await self._stream.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:  # another meter was first
            if "BUSYGROUP" not in str(error):
                raise
        log.info("metering.group_made")

    async def _store(self, entries: list[_Entry]) -> None:
        try:
            new = await self._insert(entries)
        except (ValidationError, Unstorable) as error:
            if len(entries) == 1:
                await self._set_aside(entries[0], type(error).__name__)
                return
            for entry in entries:
                await self._store([entry])
            return
        failpoints.hit("meter.inserted")
        await self._finish(entries)
        STORED.labels("new").inc(new)
        STORED.labels("known").inc(len(entries) - new)
        log.info("metering.stored", entries=len(entries), new=new)

    async def _insert(self, entries: list[_Entry]) -> int:
        failpoints.hit("meter.taken")
        measured = [Measured.model_validate_json(fields.get(b"usage", b"")) for _, fields in entries]
        try:
            async with self._database.transaction() as session:
                return await usage.record(session, measured)
        except DBAPIError as exc:
            if db.is_the_datas_fault(exc):
                raise Unstorable("usage_unstorable", reason=foreign(exc.orig)) from exc
            # A schema that is behind, a server in some trouble of its own: whole batches would be thrown away for it.
            raise StoreAway("usage_store_away", reason=foreign(exc.orig)) from exc

    async def _set_aside(self, entry: _Entry, reason: str) -> None:
        entry_id, fields = entry
        kept: dict[Any, Any] = {**fields, b"reason": reason.encode(), b"entry": entry_id}
        await self._stream.xadd(ASIDE, kept)
        await self._finish([entry])
        STORED.labels("set_aside").inc()
        log.error("metering.entry_set_aside", entry=entry_id.decode(), reason=reason)

    async def _finish(self, entries: list[_Entry]) -> None:
        """Acknowledge and delete: an acknowledged entry would otherwise stay in the stream for good."""
        done = [entry_id for entry_id, _ in entries]
        async with self._stream.pipeline(transaction=True) as pipeline:
            pipeline.xack(STREAM, GROUP, *done)
            pipeline.xdel(STREAM, *done)
            await pipeline.execute()


def _written_at(entry_id: bytes) -> float:
    """When Redis took the entry: ids begin with its clock's milliseconds."""
    return int(entry_id.split(b"-")[0]) / 1000
