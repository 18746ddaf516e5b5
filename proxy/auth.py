"""Who may: a token is found by its HMAC, proven by bcrypt once in five minutes, its box's state asked every 5 s."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import asyncpg
import bcrypt

from controller.core import crypto
from controller.core.errors import NotAllowed, Temporary, foreign
from controller.domain import token_format
from controller.domain.states import State
from proxy.errors import BoxStopped
from proxy.limits import Allowance

STATUS_FRESH = timedelta(seconds=5)
"""How old a box's state may be: half of the ten seconds within which a dead token must be refused."""

SECRET_FRESH = timedelta(minutes=5)
BCRYPT_AT_ONCE = 2
MOST_REMEMBERED = 20_000

_QUERY = """
SELECT t.hash, t.revoked_at IS NOT NULL AS revoked, b.state, b.plan, b.locale, s.period_end,
  coalesce(u.input_tokens + u.output_tokens, 0) AS spent
FROM proxy_tokens t JOIN boxes b ON b.id = t.box_id LEFT JOIN subscriptions s ON s.box_id = b.id
  LEFT JOIN usage_monthly u ON u.box_id = b.id AND u.period_start = s.period_start
WHERE t.lookup = $1 AND t.box_id = $2
"""


@dataclass(frozen=True)
class Admitted:
    """The box whose token it was, and what it may still use."""

    box_id: str
    allowance: Allowance


@dataclass(frozen=True)
class _Verdict:
    """What Postgres said of a token: its hash, whether its box may call, and how much; no hash: it is unknown."""

    hash: str | None
    allowed: bool
    allowance: Allowance
    at: float
    """Before the question was put, so that an answer is never thought fresher than it is."""


_UNKNOWN = _Verdict(None, allowed=False, allowance=Allowance("starter", "en", 0, None), at=0.0)


def _read(row: asyncpg.Record) -> _Verdict:
    allowance = Allowance(row["plan"], row["locale"], int(row["spent"]), row["period_end"])
    # a standby runs and may not call: there is nobody whose usage that would be
    allowed = not row["revoked"] and row["state"] == State.ACTIVE
    return _Verdict(row["hash"], allowed, allowance, at=0.0)


class Doorkeeper:
    """Decides over tokens for one process."""

    def __init__(self, pool: asyncpg.Pool, pepper: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._pepper = pepper
        self._clock = clock
        self._verdicts: dict[str, _Verdict] = {}
        self._proven: dict[str, float] = {}
        self._flights: dict[str, asyncio.Lock] = {}
        self._bcrypt = asyncio.Semaphore(BCRYPT_AT_ONCE)

    async def admit(self, authorization: str) -> Admitted:
        """The box whose token this is.

        Raises NotAllowed for a wrong token, BoxStopped for a right one whose box may not call, Temporary when
        Postgres cannot be asked.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise NotAllowed("token_missing")
        box_id, secret = token_format.parse(token, "proxy")
        key = crypto.lookup(self._pepper, token)
        async with self._flights.setdefault(key, asyncio.Lock()):
            verdict = await self._verdict(key, box_id)
            if verdict.hash is None or not await self._secret_fits(key, secret, verdict.hash):
                raise NotAllowed("token_refused")
        if not verdict.allowed:
            raise BoxStopped("box_stopped")
        return Admitted(box_id, verdict.allowance)

    async def _verdict(self, key: str, box_id: str) -> _Verdict:
        known = self._verdicts.get(key)
        if known is not None and self._clock() - known.at < STATUS_FRESH.total_seconds():
            return known
        asked_at = self._clock()
        try:
            async with asyncio.timeout(5):
                row = await self._pool.fetchrow(_QUERY, key, box_id)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            raise Temporary("tokens_unavailable", reason=foreign(type(exc).__name__)) from exc
        verdict = _UNKNOWN if row is None else _read(row)
        verdict = replace(verdict, at=asked_at)
        self._remember(key, verdict)
        return verdict

    async def _secret_fits(self, key: str, secret: str, hashed: str) -> bool:
        if self._clock() - self._proven.get(key, float("-inf")) < SECRET_FRESH.total_seconds():
            return True
        async with self._bcrypt:
            fits = await asyncio.to_thread(bcrypt.checkpw, secret.encode(), hashed.encode())
        if fits:
            self._proven[key] = self._clock()
        return fits

    def _remember(self, key: str, verdict: _Verdict) -> None:
        if len(self._verdicts) >= MOST_REMEMBERED:
            for memory in (self._verdicts, self._proven, self._flights):
                memory.clear()
        self._verdicts[key] = verdict
