"""Admission: one question to Redis decides token, rate and quota; Postgres answers for it while it is away."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from controller.core import clock
from controller.core.errors import CloudError, NotAllowed, Temporary
from proxy import scripts
from proxy.body import Prepared
from proxy.buckets import Buckets
from proxy.counting import Counter
from proxy.errors import BoxStopped
from proxy.guesses import Guesses
from proxy.journal import Journal, JournalAway, Reservation
from proxy.lines import Line, RedisAway, Reply
from proxy.quotas import Quotas
from proxy.reading import estimate
from proxy.settings import ProxySettings
from proxy.verdicts import MOST_PROVEN, Token, Told, Verdict, Verdicts

LEAST_OUTPUT = 16
"""With fewer tokens left to answer in, a call is refused: nobody wants the first word of a sentence."""

STALE_REFUSAL_MS = 1_000
"""Nobody is refused on a view that is older: something may have been given back meanwhile."""

ROUNDS = 8
"""Questions to Redis for one call, each after something that it did not know was loaded. Two are usual at most."""

SEEN_SECONDS = 60.0
"""How long a good token is not looked at before its request's body is read."""


class TooFast(Temporary):
    """Raised when a customer's bucket is empty; ``retry_after`` says when it is not."""

    status = 429


class UsedUp(CloudError):
    """Raised when what is left of the plan is too little for the call."""

    status = 429

    def __init__(self, verdict: Verdict) -> None:
        super().__init__("plan_used_up", plan=verdict.plan)
        self.verdict = verdict


@dataclass(frozen=True)
class Admission:
    """An admitted call: ``output_cap`` is what each of its choices may have, ``used`` the share of the plan before."""

    verdict: Verdict
    reservation: Reservation
    output_cap: int
    used: float


@dataclass
class _Ask:
    """One call on its way through the gate: what it wants, and what was found out meanwhile."""

    token: Token
    request_id: str
    prepared: Prepared
    input_bound: int
    floor: int
    counts: bool = True
    """Whether the rate is still to be counted."""

    exact: bool = False
    """Whether the prompt's tokens were counted, and a shorter answer is accepted."""

    @property
    def cap(self) -> int:
        return self.prepared.output_cap * self.prepared.choices


@dataclass(frozen=True)
class Parts:
    """What the gate asks."""

    line: Line
    verdicts: Verdicts
    quotas: Quotas
    journal: Journal
    counter: Counter
    guesses: Guesses


class Gate:
    """One process's."""

    def __init__(self, settings: ProxySettings, parts: Parts, proxy_id: str) -> None:
        self._settings = settings
        self._parts = parts
        self._proxy_id = proxy_id
        self._told = Told()
        self._buckets = Buckets(settings.rate_per_second, settings.rate_burst)
        self._seen: OrderedDict[str, float] = OrderedDict()

    async def check(self, token: Token, address: Callable[[], str]) -> None:
        """Return if the token is good, before a body is read for it; ``address`` tells whence it came.

        Raises NotAllowed for a wrong one, BoxStopped for a right one whose box may not call, TooManyGuesses, Temporary.
        """
        if self._seen.get(token.lookup, 0.0) > asyncio.get_running_loop().time():
            return
        status = await self._status(token)
        allowed = {b"ok": True, b"stopped": False}.get(status)
        if allowed is None:
            if status != b"stale" and not self._parts.verdicts.knows(token):
                self._parts.guesses.check(address())
            try:
                allowed = (await self._parts.verdicts.load(token)).allowed
            except NotAllowed:
                self._parts.guesses.wrong(address())
                raise
        if not allowed:
            raise BoxStopped("box_stopped")
        self._remember(token)

    async def verdict(self, token: Token, address: Callable[[], str]) -> Verdict:
        """What a good token's box may, by Postgres. Raises what ``check`` does."""
        await self.check(token, address)
        return await self._parts.verdicts.load(token)

    async def admit(self, token: Token, request_id: str, prepared: Prepared) -> Admission:
        """The call's reservation, which the journal has from now on.

        Raises what ``check`` does, TooFast, UsedUp, and Temporary when it cannot be decided or made durable.
        """
        if self._parts.journal.failing:
            raise JournalAway("journal_away")
        ask = _Ask(token, request_id, prepared, prepared.input_bound, prepared.output_cap * prepared.choices)
        try:
            admission = await self._by_redis(ask)
        except RedisAway:
            admission = await self._by_postgres(ask)
        self._parts.journal.open(admission.reservation)
        return admission

    def forget(self, lookups: list[str]) -> None:
        """These tokens are looked at before the next body."""
        for lookup in lookups:
            self._seen.pop(lookup, None)

    async def _by_redis(self, ask: _Ask) -> Admission:
        for _ in range(ROUNDS):
            answer, told, *rest = await self._asked(ask)
            if answer in (b"unknown", b"stale"):
                await self._parts.verdicts.load(ask.token)
                continue
            if answer == b"stopped":
                self._seen.pop(ask.token.lookup, None)
                raise BoxStopped("box_stopped")
            if answer == b"rate":
                raise TooFast("rate_limited", retry_after=timedelta(milliseconds=_number(rest[0])))
            verdict = self._told.read(_bytes(told))
            ask.counts = False
            if answer == b"granted":
                granted, used, age_ms = (_number(one) for one in rest)
                if age_ms >= self._settings.quota_fresh.total_seconds() * 1000:
                    self._parts.quotas.refresh_soon(verdict)
                return self._admitted(ask, verdict, granted, used)
            if answer == b"load":
                await self._parts.quotas.refresh(verdict)
            else:
                await self._look_closer(ask, verdict, *(_number(one) for one in rest))
        raise Temporary("quota_unsettled")

    async def _asked(self, ask: _Ask) -> list[Reply]:
        settings = self._settings
        lease_ms = int(settings.proxy_lease.total_seconds() * 1000)
        rate = (int(ask.counts), settings.rate_per_second, settings.rate_burst, lease_ms)
        reply = await self._parts.line.run(
            scripts.RESERVE, ask.token.key, ask.request_id, ask.input_bound, ask.cap, ask.floor, *rate
        )
        assert isinstance(reply, list)
        return [*reply, None] if len(reply) == 1 else reply

    async def _look_closer(self, ask: _Ask, verdict: Verdict, free: int, age_ms: int) -> None:
        """Too little is left for the coarse bound: count the prompt, then look at Postgres; return to ask again."""
        if not ask.exact and free > 0:
            await self._count(ask)
        elif age_ms >= STALE_REFUSAL_MS:
            await self._parts.quotas.refresh(verdict)
        else:
            raise UsedUp(verdict)

    async def _count(self, ask: _Ask) -> None:
        ask.exact = True
        ask.floor = min(ask.cap, LEAST_OUTPUT * ask.prepared.choices)
        counted = await self._parts.counter.count(ask.prepared.countable)
        if counted is not None:
            bound = int(counted * ask.prepared.margin) + 1 + ask.prepared.beside_text
            ask.input_bound = min(ask.input_bound, bound)

    async def _by_postgres(self, ask: _Ask) -> Admission:
        verdict = await self._parts.verdicts.load(ask.token)
        if not verdict.allowed:
            raise BoxStopped("box_stopped")
        wait = self._buckets.take(verdict.customer_id) if ask.counts else 0.0
        if wait > 0:
            raise TooFast("rate_limited", retry_after=timedelta(seconds=wait))
        ask.counts = False
        row = self._row(ask, verdict, ask.cap)
        granted = await self._parts.quotas.reserve(verdict, row, ask.input_bound, ask.floor)
        if granted < 0 and not ask.exact:
            await self._count(ask)
            row = self._row(ask, verdict, ask.cap)
            granted = await self._parts.quotas.reserve(verdict, row, ask.input_bound, ask.floor)
        if granted < 0:
            raise UsedUp(verdict)
        self._remember(ask.token)
        return Admission(verdict, row, granted // ask.prepared.choices, used=0.0)

    def _admitted(self, ask: _Ask, verdict: Verdict, granted: int, used: int) -> Admission:
        self._remember(ask.token)
        row = self._row(ask, verdict, granted)
        return Admission(verdict, row, granted // ask.prepared.choices, used / max(1, verdict.limit_tokens))

    def _row(self, ask: _Ask, verdict: Verdict, output: int) -> Reservation:
        return Reservation(
            request_id=ask.request_id,
            proxy_id=self._proxy_id,
            box_id=verdict.box_id,
            period_start=verdict.period_start,
            model=ask.prepared.model,
            held_tokens=ask.input_bound + output,
            input_tokens=min(estimate(ask.prepared.size_bytes), ask.input_bound),
            at=clock.now(),
            quota_key=verdict.quota_key,
        )

    async def _status(self, token: Token) -> bytes:
        """What Redis knows of the token, in a word of its script."""
        try:
            reply = await self._parts.line.run(scripts.STATUS, token.key)
        except RedisAway:
            return b"unknown"
        assert isinstance(reply, list)
        return _bytes(reply[0])

    def _remember(self, token: Token) -> None:
        self._seen[token.lookup] = asyncio.get_running_loop().time() + SEEN_SECONDS
        self._seen.move_to_end(token.lookup)
        if len(self._seen) > MOST_PROVEN:
            self._seen.popitem(last=False)


def _number(reply: Reply) -> int:
    assert isinstance(reply, int)
    return reply


def _bytes(reply: Reply) -> bytes:
    assert isinstance(reply, bytes)
    return reply
