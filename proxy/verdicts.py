"""Who may: a token is found by its HMAC, proven by bcrypt, and what its box may is told to Redis for every replica."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import asyncpg
import bcrypt
import orjson

from controller.core import crypto
from controller.core import log as logs
from controller.core.errors import NotAllowed, Temporary, foreign
from controller.domain import plans, token_format
from controller.domain.states import State
from proxy import scripts
from proxy.lines import Line, RedisAway
from proxy.postgres import LOST

log = logs.get(__name__)

SECRET_FRESH = timedelta(minutes=5)
BCRYPT_AT_ONCE = 2
MOST_LOADING = 256
"""Tokens that are looked up at the same time; beyond it the answer is 503, so that a flood of new ones is no queue."""

MOST_PROVEN = 20_000
POSTGRES_SECONDS = 5.0

_QUERY = """
SELECT t.hash, t.refusal, t.revoked_at IS NOT NULL AS revoked, b.state, b.plan, b.locale, b.customer_id,
  coalesce(s.period_start, b.created_at) AS period_start, s.period_end
FROM proxy_tokens t JOIN boxes b ON b.id = t.box_id LEFT JOIN subscriptions s ON s.box_id = b.id
WHERE t.lookup = $1 AND t.box_id = $2
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Token:
    """What a request shows: ``lookup`` finds it, ``secret`` proves it."""

    lookup: str
    box_id: str
    secret: str

    @property
    def key(self) -> str:
        """Where Redis has its verdict."""
        return f"oc:token:{self.lookup}"


@dataclass(frozen=True)
class Verdict:
    """What a proven token's box may; ``customer_id`` is empty for a standby, which nobody owns."""

    box_id: str
    customer_id: str
    allowed: bool
    plan: str
    locale: str
    refusal: str
    period_start: datetime
    renews_at: datetime | None

    @cached_property
    def limit_tokens(self) -> int:
        """What the plan gives for the period, input and output together."""
        return plans.get(self.plan).tokens

    @cached_property
    def quota_key(self) -> str:
        """Where Redis has what the period has used."""
        return f"oc:quota:{self.box_id}:{(self.period_start - _EPOCH) // timedelta(microseconds=1)}"

    def fields(self) -> list[str | bytes | int]:
        """As the scripts want it."""
        period = self.quota_key.rpartition(":")[2]
        names: list[str | bytes | int] = ["box", self.box_id, "customer", self.customer_id, "period", period]
        return [*names, "ok", int(self.allowed), "limit", self.limit_tokens, "told", orjson.dumps(asdict(self))]


def shown(authorization: str, pepper: str) -> Token:
    """The token in a request's header.

    Raises NotAllowed for anything that cannot be one.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise NotAllowed("token_missing")
    box_id, secret = token_format.parse(token, "proxy")
    return Token(crypto.lookup(pepper, token), box_id, secret)


class Told:
    """Verdicts as Redis gives them back, each text read once."""

    def __init__(self) -> None:
        self._read: dict[bytes, Verdict] = {}

    def read(self, told: bytes) -> Verdict:
        """The verdict that was told so."""
        if (known := self._read.get(told)) is not None:
            return known
        if len(self._read) >= MOST_PROVEN:
            self._read.clear()
        fields = orjson.loads(told)
        for name in ("period_start", "renews_at"):
            fields[name] = datetime.fromisoformat(fields[name]) if fields[name] else None
        made = self._read[told] = Verdict(**fields)
        return made


class Verdicts:
    """Asks Postgres, proves, and tells Redis."""

    def __init__(self, pool: asyncpg.Pool, line: Line, fresh: timedelta) -> None:
        self._pool = pool
        self._line = line
        self._fresh = fresh
        self._loading: dict[str, asyncio.Task[Verdict]] = {}
        self._proven: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._bcrypt = asyncio.Semaphore(BCRYPT_AT_ONCE)
        self._changes = 0

    async def load(self, token: Token) -> Verdict:
        """What Postgres says now; Redis knows it too, unless it is away.

        Raises NotAllowed for a wrong token, Temporary when Postgres cannot be asked.
        """
        running = self._loading.get(token.lookup)
        if running is None:
            if len(self._loading) >= MOST_LOADING:
                raise Temporary("tokens_unavailable", reason="too many at once")
            running = asyncio.create_task(self._load(token))
            self._loading[token.lookup] = running
            running.add_done_callback(lambda _: self._loading.pop(token.lookup, None))
        return await asyncio.shield(running)  # who leaves must not end it for those who wait as well

    def knows(self, token: Token) -> bool:
        """Whether the token was proven here a while ago."""
        return token.lookup in self._proven

    async def doubt(self, box_id: str) -> list[str]:
        """Something changed for a box: its tokens' verdicts are asked for anew; their lookups."""
        self._changes += 1
        lookups = [row[0] for row in await self._fetch("SELECT lookup FROM proxy_tokens WHERE box_id = $1", box_id)]
        for lookup in lookups:
            try:
                await self._line.ask("HDEL", f"oc:token:{lookup}", "until")
            except RedisAway:
                return lookups  # nobody is admitted by it now, and what it says later is old by then
        return lookups

    async def allowed(self, lookups: list[str]) -> set[str]:
        """Those of the tokens that may call, by Postgres. Raises as ``load`` does."""
        query = """
        SELECT t.lookup FROM proxy_tokens t JOIN boxes b ON b.id = t.box_id
        WHERE t.lookup = ANY($1) AND t.revoked_at IS NULL AND b.state = $2
        """
        return {row[0] for row in await self._fetch(query, lookups, State.ACTIVE.value)}

    async def _load(self, token: Token) -> Verdict:
        while True:
            seen = self._changes
            rows = await self._fetch(_QUERY, token.lookup, token.box_id)
            if not rows or not await self._secret_fits(token, rows[0]["hash"]):
                raise NotAllowed("token_refused")
            verdict = _read(token.box_id, rows[0])
            await self._tell(token, verdict)
            # What is told of a change later follows on the same connection, so nothing older can come after it.
            if seen == self._changes:
                return verdict

    async def _tell(self, token: Token, verdict: Verdict) -> None:
        fresh_ms, proof = int(self._fresh.total_seconds() * 1000), int(SECRET_FRESH.total_seconds())
        try:
            await self._line.run(scripts.LEARN, token.key, fresh_ms, proof, *verdict.fields())
        except RedisAway:
            return  # the caller finds another way

    async def _secret_fits(self, token: Token, hashed: str) -> bool:
        known, until = self._proven.get(token.lookup, ("", 0.0))
        if known == hashed and time.monotonic() < until:
            return True
        secret = token.secret.encode()
        if len(secret) > 72:  # bcrypt raises beyond; our own secrets have 43
            return False
        try:
            async with self._bcrypt:
                fits = await asyncio.to_thread(bcrypt.checkpw, secret, hashed.encode())
        except ValueError:
            log.error("proxy.token_hash_malformed", box_id=token.box_id)
            return False
        if fits:
            self._proven[token.lookup] = (hashed, time.monotonic() + SECRET_FRESH.total_seconds())
            if len(self._proven) > MOST_PROVEN:
                self._proven.popitem(last=False)
        return fits

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        try:
            async with asyncio.timeout(POSTGRES_SECONDS):
                return list(await self._pool.fetch(query, *arguments))
        except LOST as exc:
            raise Temporary("tokens_unavailable", reason=foreign(type(exc).__name__)) from exc


def _read(box_id: str, row: asyncpg.Record) -> Verdict:
    # a standby runs and may not call: there is nobody whose usage that would be
    return Verdict(
        box_id=box_id,
        customer_id=row["customer_id"] or "",
        allowed=not row["revoked"] and row["state"] == State.ACTIVE,
        plan=row["plan"],
        locale=row["locale"],
        refusal=row["refusal"],
        period_start=row["period_start"],
        renews_at=row["period_end"],
    )
