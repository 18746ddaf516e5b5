"""One admitted call from its reservation to its usage, and all of them that are open."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from controller.core import clock, failpoints
from controller.domain.measured import Measured
from proxy import scripts
from proxy.catalog import Prices
from proxy.gate import Admission
from proxy.journal import Journal
from proxy.lines import Line, RedisAway
from proxy.meter import Meter
from proxy.reading import Reader, estimate
from proxy.usages import Usage
from proxy.verdicts import Token

MOST_TOKENS = 2**40
HANDED_SECONDS = 10.0
"""How long a last frame waits for a store to take the measurement; then the client sees a stream that broke."""

RENEWED_AT_ONCE = 25


@dataclass(frozen=True)
class Books:
    """Where a call is written down."""

    journal: Journal
    meter: Meter
    counts: Line
    lease: timedelta


class Call:
    """Open until ``end``."""

    def __init__(self, token: Token, admission: Admission, reader: Reader, prices: Prices, books: Books) -> None:
        self.lookup = token.lookup
        self.reader = reader
        self.row = admission.reservation
        self.cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the call may not go on."""
        self.prices = prices
        """The model's that was asked for, until another answers in its place."""
        self._books = books
        self._handed: asyncio.Future[None] | None = None
        self._known: Measured | None = None
        """The measurement, where the whole answer was read before its first byte went out."""
        self.measured: Measured | None = None
        """What was handed on."""

    async def begin(self, *, known: bool = False) -> None:
        """Return once the first byte may go out; ``known``: the whole answer was read. Raises JournalAway."""
        failpoints.hit("proxy.answered")
        if known:
            self._known = self.measure()
        await self._books.journal.delivering(self.row, self._known)
        failpoints.hit("proxy.durable")

    async def hand_on(self) -> None:
        """Return once a store has the measurement, so that the last frame may go out. Raises TimeoutError."""
        if self._handed is None:
            self._handed = self._put()
        async with asyncio.timeout(HANDED_SECONDS):
            await asyncio.shield(self._handed)

    def end(self) -> None:
        """The call is over: usage if a byte of it went out, and given back if not."""
        if self.reader.delivered:
            self._handed = self._handed or self._put()
        elif self._handed is None:
            self._books.journal.remove(self.row)
            self._keep(self._hold(0))

    def renew(self) -> None:
        """Say in Redis that it still holds what it holds, and to Postgres what it has used so far."""
        so_far = self.measure()
        self.row.input_tokens, self.row.output_tokens = so_far.input_tokens, so_far.output_tokens
        self.row.cost_microusd = so_far.cost_microusd
        if self.row.delivering:
            self._books.journal.progress(self.row)
        self._keep(self._hold(self.row.held_tokens))

    def measure(self) -> Measured:
        """The provider's figures, or ours from what was delivered, marked estimated."""
        read, row = self.reader, self.row
        usage = read.usage or {}
        spent, made = _figure(usage.get("prompt_tokens")), _figure(usage.get("completion_tokens"))
        used = Usage(
            input=row.input_tokens if spent is None else spent,
            cached=_detail(usage, "prompt_tokens_details", "cached_tokens"),
            output=estimate(read.delivered_bytes) if made is None else made,
            reasoning=_detail(usage, "completion_tokens_details", "reasoning_tokens"),
        )
        return Measured(
            request_id=row.request_id,
            box_id=row.box_id,
            model=row.model,
            input_tokens=used.input,
            output_tokens=used.output,
            cached_tokens=used.cached,
            reasoning_tokens=used.reasoning,
            cost_microusd=self.prices.cost_microusd(used),
            estimated=spent is None or made is None,
            at=clock.now(),
            period_start=row.period_start,
        )

    def _put(self) -> asyncio.Future[None]:
        self.measured = self._known or self.measure()
        self._books.journal.settled(self.row)
        return self._books.meter.put(self.measured, self.row.quota_key)

    async def _hold(self, tokens: int) -> None:
        lease_ms = int(self._books.lease.total_seconds() * 1000)
        try:
            await self._books.counts.run(scripts.SETTLE, self.row.quota_key, self.row.request_id, tokens, lease_ms)
        except RedisAway:
            return  # Redis will hear it from Postgres

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        _running.add(task)
        task.add_done_callback(_running.discard)


_running: set[asyncio.Future[Any]] = set()
"""The loop keeps only weak references to tasks."""


class OpenCalls:
    """Every call of this process that is not over."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}

    def add(self, call: Call) -> None:
        """It is open."""
        self._calls[call.row.request_id] = call

    def discard(self, call: Call) -> None:
        """It is over."""
        self._calls.pop(call.row.request_id, None)

    async def renew(self) -> None:
        """None of them is dead; a few at a time, for a thousand at once would hold up every stream."""
        for number, call in enumerate(list(self._calls.values()), 1):
            if call.row.request_id in self._calls:  # else it ended meanwhile, and holds nothing any more
                call.renew()
            if number % RENEWED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def lookups(self) -> list[str]:
        """The tokens that they were admitted with."""
        return sorted({call.lookup for call in self._calls.values()})

    def cut(self, lookups: set[str]) -> int:
        """End the calls of these tokens; how many."""
        ended = [call for call in self._calls.values() if call.lookup in lookups and not call.cut.done()]
        for call in ended:
            call.cut.set_result(None)
        return len(ended)


def _figure(value: object) -> int | None:
    """``value`` if it can be a number of tokens: what a provider says is not trusted to be one."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if fits and isinstance(value, int) else None


def _detail(usage: dict[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return (_figure(details.get(name)) or 0) if isinstance(details, dict) else 0
