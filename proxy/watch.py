"""Hears from Postgres when a box may no longer call, and asks itself now and then, lest it was deaf.

Triggers on the tables say it with the commit, whoever commits: the API, billing, ops' commits, a person with psql.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg

from controller.core import log as logs
from controller.core.errors import Temporary
from proxy.calls import OpenCalls
from proxy.gate import Gate
from proxy.lines import RedisAway
from proxy.postgres import LOST
from proxy.quotas import Quotas
from proxy.verdicts import Verdicts

log = logs.get(__name__)

CHANNEL = "oc_admission"
LOOK_SECONDS = 3.0
"""How often open calls are looked at without having heard anything: a third of what a dead token may have left."""

PAUSE_SECONDS = 0.5


class Watch:
    """One process's ear and clock."""

    def __init__(self, dsn: str, verdicts: Verdicts, gate: Gate, calls: OpenCalls) -> None:
        self._dsn = dsn
        self._verdicts = verdicts
        self._gate = gate
        self._calls = calls
        self._changed: set[str] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled; while Postgres is away, try again."""
        while True:
            try:
                await self._listen()
            except (*LOST, Temporary) as error:
                log.warning("watch.deaf", error=type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=5, command_timeout=5)
        try:
            await connection.add_listener(CHANNEL, self._heard)
            connection.add_termination_listener(lambda _: self._wake.set())
            while not connection.is_closed():
                await self._look()
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._wake.wait()
                except TimeoutError:
                    await connection.execute("SELECT 1")  # a connection that is half open says nothing by itself
                self._wake.clear()
        finally:
            connection.terminate()

    def _heard(self, _: object, __: int, ___: str, box_id: object) -> None:
        self._changed.add(str(box_id))
        self._wake.set()

    async def _look(self) -> None:
        """Doubt what is known of changed boxes, and end calls whose token is dead."""
        changed, self._changed = self._changed, set()
        try:
            for box_id in changed:
                self._gate.forget(await self._verdicts.doubt(box_id))
            lookups = self._calls.lookups()
            dead = set(lookups) - await self._verdicts.allowed(lookups) if lookups else set()
        except Temporary:
            self._changed |= changed
            raise
        if dead and (ended := self._calls.cut(dead)):
            log.info("watch.calls_cut", calls=ended)


async def keep_alive(calls: OpenCalls, quotas: Quotas, lease: timedelta) -> None:
    """Until cancelled, renew what open calls hold, and tell Redis what was reserved without it."""
    every, since = lease.total_seconds() / 3, 0.0
    step = min(1.0, every)
    while True:
        await asyncio.sleep(step)
        try:
            await quotas.catch_up()
        except RedisAway:
            log.debug("watch.redis_away")
        since += step
        if since >= every:
            since = 0.0
            await calls.renew()
