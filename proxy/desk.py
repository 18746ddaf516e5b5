"""Everything that decides and writes down, opened together and closed in the order that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from controller.core import ids
from controller.core.settings import QueueSettings
from proxy.calls import Books, OpenCalls
from proxy.counting import Counter
from proxy.gate import Gate, Parts
from proxy.guesses import Guesses
from proxy.journal import Journal
from proxy.lines import Line
from proxy.meter import Meter
from proxy.quotas import Quotas
from proxy.settings import LedgerSettings, ProxySettings
from proxy.verdicts import Verdicts
from proxy.watch import Watch, keep_alive


@dataclass(frozen=True)
class Desk:
    """One process's."""

    gate: Gate
    books: Books
    calls: OpenCalls
    counter: Counter


@contextlib.asynccontextmanager
async def opened(
    settings: ProxySettings, dsn: str, queue: QueueSettings, ledger: LedgerSettings, pool: asyncpg.Pool
) -> AsyncIterator[Desk]:
    """The desk, at work within the block; afterwards what it knows is written down."""
    lease, proxy_id = settings.proxy_lease, ids.new()
    stream = Line(queue.queue_redis_url.get_secret_value())
    counts = Line(ledger.cache_redis_url.get_secret_value()) if ledger.cache_redis_url else stream
    journal, meter = Journal(dsn, proxy_id, lease), Meter(stream, counts, pool, lease)
    verdicts, quotas = Verdicts(pool, counts, settings.status_fresh), Quotas(pool, counts)
    counter, calls = Counter(), OpenCalls()
    gate = Gate(settings, Parts(counts, verdicts, quotas, journal, counter, Guesses()), proxy_id)
    watch = Watch(dsn, verdicts, gate, calls)
    work = [journal.run(), meter.run(), meter.confirm(), watch.run(), keep_alive(calls, quotas, lease)]
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield Desk(gate, Books(journal, meter, counts, lease), calls, counter)
    finally:
        await meter.drain()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await journal.last()
        counter.close()
        for line in {stream, counts}:
            line.close()
