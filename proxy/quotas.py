"""How much is left: Redis counts, Postgres knows. What Redis forgot is read again, never taken for nothing.

A period's use is what Postgres has as usage (``base``) plus every call that is not in it yet (``open``), told apart by
request id. Redis' view is compared with Postgres' every few seconds while a box is busy, and before anybody is refused
on an old one; so a call whose proxy died is given back as soon as Postgres no longer holds it.
"""

from __future__ import annotations

import asyncio

import asyncpg

from controller.core.errors import Temporary, foreign
from proxy import scripts
from proxy.journal import Reservation, insert
from proxy.lines import Line, Reply
from proxy.postgres import LOST
from proxy.verdicts import POSTGRES_SECONDS, Verdict

AT_ONCE = 4
MOST_WAITING = 64
"""Calls that wait for the way through Postgres while Redis is away. Beyond it: 503, which is cheap."""

_STATE = """
SELECT coalesce((SELECT input_tokens + output_tokens FROM usage_monthly WHERE box_id = $1 AND period_start = $2), 0)
    AS base,
  ARRAY(SELECT request_id FROM usage_events WHERE request_id = ANY($3::text[])) AS stored,
  ARRAY(SELECT request_id || ' ' || held_tokens FROM reservations r WHERE box_id = $1 AND period_start = $2
    AND NOT EXISTS (SELECT FROM usage_events e WHERE e.request_id = r.request_id)) AS open
"""
"""One statement, so one view: a call is in ``base`` or in ``open``, never in both and never in neither."""


class QuotaUnknown(Temporary):
    """Raised when neither Redis nor Postgres can say what is left, or too many wait to hear it."""


class Quotas:
    """One process's."""

    def __init__(self, pool: asyncpg.Pool, line: Line) -> None:
        self._pool = pool
        self._line = line
        self._refreshing: dict[str, asyncio.Task[bool]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._behind: set[str] = set()
        """Quotas of which Postgres knows calls that Redis was not told of."""

    async def refresh(self, verdict: Verdict) -> bool:
        """Make Redis agree with Postgres; whether it was we who did (another replica may have been later).

        Raises QuotaUnknown when Postgres cannot be asked, RedisAway.
        """
        key = verdict.quota_key
        running = self._refreshing.get(key)
        if running is None:
            running = self._refreshing[key] = asyncio.create_task(self._refresh(verdict))
            running.add_done_callback(lambda _: self._refreshing.pop(key, None))
        return await asyncio.shield(running)

    def refresh_soon(self, verdict: Verdict) -> None:
        """The same in the background; a failure shows when it matters."""
        if verdict.quota_key not in self._refreshing:
            task = asyncio.create_task(self.refresh(verdict))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def reserve(self, verdict: Verdict, wanted: Reservation, input_bound: int, floor: int) -> int:
        """Reserve in Postgres, for Redis is away; the output tokens granted, negative if too little is left.

        At most ``AT_ONCE`` at a time and ``MOST_WAITING`` behind them: beyond it raises QuotaUnknown.
        """
        if self._waiting >= MOST_WAITING:
            raise QuotaUnknown("quota_unknown", reason="too many at once")
        self._waiting += 1
        try:
            async with self._turn, asyncio.timeout(POSTGRES_SECONDS):
                granted = await self._reserve(verdict, wanted, input_bound, floor)
        except LOST as exc:
            raise QuotaUnknown("quota_unknown", reason=foreign(type(exc).__name__)) from exc
        finally:
            self._waiting -= 1
        self._behind.add(verdict.quota_key)
        return granted

    async def catch_up(self) -> None:
        """Redis is told to ask Postgres about every quota that was used without it. Raises RedisAway."""
        for key in list(self._behind):
            await self._line.run(scripts.DOUBT, key)
            self._behind.discard(key)

    async def _reserve(self, verdict: Verdict, wanted: Reservation, input_bound: int, floor: int) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", verdict.quota_key)
            state = await connection.fetchrow(_STATE, verdict.box_id, verdict.period_start, [])
            used = int(state["base"]) + sum(held for _, held in _pairs(state["open"]))
            free = verdict.limit_tokens - used
            if free < input_bound + floor:
                return -1
            granted = min(wanted.held_tokens - input_bound, free - input_bound)
            wanted.held_tokens = input_bound + granted
            await insert(connection, [wanted])
        return granted

    async def _refresh(self, verdict: Verdict) -> bool:
        key = verdict.quota_key
        ticket, known = _listed(await self._line.run(scripts.TICKET, key))
        try:
            async with asyncio.timeout(POSTGRES_SECONDS):
                state = await self._pool.fetchrow(_STATE, verdict.box_id, verdict.period_start, known)
        except LOST as exc:
            raise QuotaUnknown("quota_unknown", reason=foreign(type(exc).__name__)) from exc
        opened = _pairs(state["open"])
        unknown = set(known) - set(state["stored"]) - {request_id for request_id, _ in opened}
        pairs = [part for pair in opened for part in pair]
        lists = [len(state["stored"]), *state["stored"], len(unknown), *sorted(unknown), *pairs]
        return await self._line.run(scripts.APPLY, key, ticket, state["base"], *lists) == 1


def _pairs(opened: list[str]) -> list[tuple[str, int]]:
    return [(request_id, int(held)) for request_id, held in (one.split(" ") for one in opened)]


def _listed(reply: Reply) -> tuple[int, list[str]]:
    assert isinstance(reply, list)
    ticket, names = reply
    assert isinstance(ticket, int)
    assert isinstance(names, list)
    return ticket, [name[2:].decode() for name in names if isinstance(name, bytes) and name.startswith(b"o:")]
