"""The open calls, durable: committed in groups while the upstream works, and no byte goes to a client before.

A row is written twice. Early, a few milliseconds after the call was admitted, so that what it holds survives Redis. And
as ``delivering`` before the first byte, which is what makes it usage if this process dies: ``usage.recover`` settles
those and forgets the others. An upstream that answers at once costs one commit, for both.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg
import orjson

from controller.core import log as logs
from controller.core.errors import Temporary
from controller.domain.measured import Measured
from proxy.postgres import LOST

log = logs.get(__name__)

LINGER_SECONDS = 0.005
"""How long a new call waits for company, or for its own first byte, before it is committed."""

PATIENCE_SECONDS = 5.0
"""How long a first byte waits for Postgres; then the call is refused, with nothing of it sent."""

RETRY_SECONDS = 0.2

_COLUMNS = (
    ("request_id", "text"), ("proxy_id", "text"), ("box_id", "text"), ("period_start", "timestamptz"),
    ("model", "text"), ("held_tokens", "int8"), ("input_tokens", "int8"), ("output_tokens", "int8"),
    ("cost_microusd", "int8"), ("delivering", "bool"), ("measured", "jsonb"), ("at", "timestamptz"),
)  # fmt: skip
_NAMES = [name for name, _ in _COLUMNS]
_UPSERT = f"""
INSERT INTO reservations ({", ".join(_NAMES)})
SELECT * FROM jsonb_to_recordset($1::jsonb) AS rows({", ".join(f"{name} {kind}" for name, kind in _COLUMNS)})
ON CONFLICT (request_id) DO UPDATE SET delivering = excluded.delivering, measured = excluded.measured,
  input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, cost_microusd = excluded.cost_microusd
"""  # noqa: S608, our own column names; one parameter, since twelve arrays cost the driver three times as much
_BEAT = """
INSERT INTO proxies (id, expires_at) VALUES ($1, now() + $2::interval)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
"""
_REMOVE = "DELETE FROM reservations WHERE request_id = ANY($1::text[])"


class JournalAway(Temporary):
    """Raised when an open call cannot be made durable, so that nothing of it may be delivered."""


@dataclass(slots=True)
class Reservation:
    """One call as the table ``reservations`` has it."""

    request_id: str
    proxy_id: str
    box_id: str
    period_start: datetime
    model: str
    held_tokens: int
    input_tokens: int
    at: datetime
    quota_key: str
    output_tokens: int = 0
    cost_microusd: int = 0
    delivering: bool = False
    measured: Measured | None = None
    written: bool = field(default=False, repr=False)
    """Whether a commit with it was begun."""

    over: bool = field(default=False, repr=False)
    """Whether its usage is on its way, so that nothing of it is written any more."""


async def insert(connection: asyncpg.Connection, rows: list[Reservation]) -> None:
    """The rows are there, or say what these say."""
    await connection.execute(_UPSERT, orjson.dumps(rows, default=_text).decode())  # what is no column is left out
    for row in rows:
        row.written = True


class Journal:
    """One process's open calls on their way into Postgres."""

    def __init__(self, dsn: str, proxy_id: str, lease: timedelta) -> None:
        self._dsn = dsn
        self._proxy_id = proxy_id
        self._lease = lease
        self._changed: dict[str, Reservation] = {}
        self._removed: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        self._connection: asyncpg.Connection | None = None
        self._beaten_at = float("-inf")
        self._next_beat: asyncio.TimerHandle | None = None
        self.failing = False
        """Whether the last commit failed: new calls are refused before the upstream is asked for nothing."""

    def open(self, row: Reservation) -> None:
        """The call is under way; it will be committed soon."""
        self._changed[row.request_id] = row
        self._ring_soon()

    async def delivering(self, row: Reservation, measured: Measured | None = None) -> None:
        """Return once the row is committed as delivering, with its exact measurement if that is known already.

        Raises JournalAway if Postgres does not take it in time; the row may be there or not.
        """
        row.delivering, row.measured = True, measured
        loop = asyncio.get_running_loop()
        waiting = self._waiting[row.request_id] = loop.create_future()
        late = loop.call_later(PATIENCE_SECONDS, _give_up, waiting)  # costs a third of asyncio.timeout
        self._changed[row.request_id] = row
        self._ring()
        try:
            await waiting
        finally:
            late.cancel()
            self._waiting.pop(row.request_id, None)

    def progress(self, row: Reservation) -> None:
        """What the row says has changed; it is committed with the next beat, unless its usage is on its way by then."""
        if not row.over:
            self._changed[row.request_id] = row

    def remove(self, row: Reservation) -> None:
        """Nothing of the call was delivered: it leaves no trace."""
        self._changed.pop(row.request_id, None)
        if row.written:
            self._removed.add(row.request_id)
            self._ring_soon()

    def settled(self, row: Reservation) -> None:
        """Its usage is on its way, and the row goes with it: nothing of it is written any more."""
        row.over = True
        self._changed.pop(row.request_id, None)

    async def run(self) -> None:
        """Commit what changes until cancelled, and say three times a lease that we live."""
        self._wake.set()
        try:
            while True:
                await self._rung()
                if await self._commit():
                    self.failing = False
                else:
                    self.failing = True
                    await asyncio.sleep(RETRY_SECONDS)
                    self._wake.set()
        finally:
            if self._next_beat is not None:
                self._next_beat.cancel()
            if self._connection is not None:
                self._connection.terminate()

    async def last(self) -> None:
        """Commit what is left, once: for the end of the process, after ``run``."""
        self._connection = None
        await self._commit()
        if self._connection is not None:
            self._connection.terminate()

    def _ring(self) -> None:
        self._wake.set()

    def _ring_soon(self) -> None:
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._ring)

    async def _rung(self) -> None:
        await self._wake.wait()
        self._wake.clear()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    async def _commit(self) -> bool:
        changed, removed = self._changed, self._removed
        self._changed, self._removed = {}, set()
        promised = [key for key, row in changed.items() if row.delivering]
        for row in changed.values():
            row.written = True  # before anything is waited for: who is removed meanwhile must be removed there too
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._write(list(changed.values()), removed)
        except LOST as error:
            log.warning("journal.commit_failed", error=type(error).__name__, calls=len(changed))
            self._put_back(changed, removed)
            return False
        except asyncio.CancelledError:
            self._put_back(changed, removed)
            raise
        for key in promised:
            if (waiting := self._waiting.get(key)) is not None and not waiting.done():
                waiting.set_result(None)
        return True

    async def _write(self, changed: list[Reservation], removed: set[str]) -> None:
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = self._connection = await asyncpg.connect(self._dsn, timeout=PATIENCE_SECONDS)
        loop = asyncio.get_running_loop()
        beat = loop.time() - self._beaten_at >= self._lease.total_seconds() / 4
        if not (changed or removed or beat):
            return
        if not beat and not removed:
            await insert(connection, changed)  # one statement is a transaction of its own
            return
        async with connection.transaction():
            if beat:
                await connection.execute(_BEAT, self._proxy_id, self._lease)
            if changed:
                await insert(connection, changed)
            if removed:
                await connection.execute(_REMOVE, list(removed))
        if beat:
            self._beaten_at = loop.time()
            self._next_beat = loop.call_later(self._lease.total_seconds() / 3, self._ring)

    def _put_back(self, changed: dict[str, Reservation], removed: set[str]) -> None:
        self._changed = {key: row for key, row in changed.items() if not row.over} | self._changed
        self._removed |= removed
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _give_up(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_exception(JournalAway("journal_away"))


def _text(measured: Measured) -> orjson.Fragment:
    return orjson.Fragment(measured.text)
