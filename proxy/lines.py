"""One connection to Redis that every caller of a process shares: commands out in order, answers back in order.

A pool of connections costs a wake-up, a checkout and a system call for each command; here what is asked within one turn
of the event loop goes out in one write.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast
from urllib.parse import unquote, urlsplit

import hiredis

from controller.core.errors import Temporary, foreign

Reply: TypeAlias = "int | bytes | list[Reply] | None"
Part: TypeAlias = "str | bytes | int | float"

PATIENCE_SECONDS = 2.0
"""A server that leaves a command unanswered for so long is taken for gone, with all that wait for it."""

AVOID_SECONDS = 2.0
"""How long nobody tries again after a failure: callers have another way, and must not each wait for a dead server."""


class RedisAway(Temporary):
    """Raised when Redis cannot be reached or does not answer; whether it did what was asked is then unknown."""


class RedisRefused(RedisAway):
    """Raised when Redis answers a command with an error: it loads, only reads, or is full."""


@dataclass(frozen=True)
class Script:
    """A Lua script, sent whole only to a server that does not know it yet."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


class Line:
    """Opened with the first command and again after each failure."""

    def __init__(self, url: str, patience: float = PATIENCE_SECONDS, avoid: float = AVOID_SECONDS) -> None:
        """``redis://`` or ``rediss://``, with ``user:password@`` and the database's number if there are any."""
        self._url = urlsplit(url)
        self._patience, self._avoid = patience, avoid
        self._wire: _Wire | None = None
        self._opening: asyncio.Task[_Wire] | None = None
        self._avoid_until = 0.0

    async def ask(self, *parts: Part) -> Reply:
        """The answer to one command. Raises RedisAway, RedisRefused."""
        wire = self._wire
        if wire is None or wire.lost:
            wire = await self._reopened()
        reply = await wire.send(parts)
        if isinstance(reply, hiredis.ReplyError):
            raise RedisRefused("redis_refused", reason=foreign(reply))
        return reply

    async def ask_all(self, commands: Sequence[Sequence[Part]]) -> list[Reply]:
        """The answers to commands that go out together. Raises as ``ask`` does, if any of them fails."""
        wire = self._wire
        if wire is None or wire.lost:
            wire = await self._reopened()
        replies = await asyncio.gather(*(wire.send(parts) for parts in commands))
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise RedisRefused("redis_refused", reason=foreign(reply))
        return replies

    async def run_all(self, script: Script, calls: Sequence[tuple[str, Sequence[Part]]]) -> list[Reply]:
        """What the script returns for each key and its arguments, all sent together. Raises as ``ask`` does.

        A server that forgot the script in between runs it again for some: repeating it must be harmless.
        """
        try:
            return await self.ask_all([("EVALSHA", script.sha, 1, key, *rest) for key, rest in calls])
        except RedisRefused as error:
            if not str(error.facts["reason"]).startswith("NOSCRIPT"):
                raise
        return await self.ask_all([("EVAL", script.text, 1, key, *rest) for key, rest in calls])

    async def run(self, script: Script, key: str, *arguments: Part) -> Reply:
        """What the script returns for its one key and its arguments. Raises as ``ask`` does."""
        try:
            return await self.ask("EVALSHA", script.sha, 1, key, *arguments)
        except RedisRefused as error:
            if not str(error.facts["reason"]).startswith("NOSCRIPT"):
                raise
        return await self.ask("EVAL", script.text, 1, key, *arguments)

    def away(self) -> bool:
        """Whether it failed a moment ago, so that ``ask`` does not even try."""
        return asyncio.get_running_loop().time() < self._avoid_until

    def close(self) -> None:
        """Cut the connection; who waits for an answer gets RedisAway."""
        if self._opening is not None:
            self._opening.cancel()
        if self._wire is not None:
            self._wire.cut()

    async def _reopened(self) -> _Wire:
        loop = asyncio.get_running_loop()
        if loop.time() < self._avoid_until:
            raise RedisAway("redis_away")
        if self._opening is None or self._opening.done():
            self._opening = loop.create_task(self._open())
        try:
            # shielded: a caller that leaves must not take the connection from those who wait with it
            return await asyncio.shield(self._opening)
        except (OSError, TimeoutError, RedisAway) as exc:
            raise RedisAway("redis_away", reason=type(exc).__name__) from exc

    async def _open(self) -> _Wire:
        loop, url = asyncio.get_running_loop(), self._url
        tls = ssl.create_default_context() if url.scheme == "rediss" else None
        try:
            async with asyncio.timeout(self._patience):
                _, wire = await loop.create_connection(
                    lambda: _Wire(self._patience, self._failed), url.hostname or "localhost", url.port or 6379, ssl=tls
                )
                await self._greet(wire)
        except (OSError, TimeoutError, RedisAway):
            self._failed()
            raise
        self._wire = wire
        return wire

    async def _greet(self, wire: _Wire) -> None:
        url = self._url
        if url.password:
            named = [unquote(url.username)] if url.username else []
            _checked(await wire.send(["AUTH", *named, unquote(url.password)]))
        if database := url.path.strip("/"):
            _checked(await wire.send(["SELECT", database]))

    def _failed(self) -> None:
        self._avoid_until = asyncio.get_running_loop().time() + self._avoid


class _Wire(asyncio.Protocol):
    """One TCP connection's life; ``failed`` is called if it ends while somebody waits for an answer."""

    def __init__(self, patience: float, failed: Callable[[], None]) -> None:
        self.lost = False
        self._patience = patience
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[asyncio.Future[Reply], float]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._watching = False

    def send(self, parts: Sequence[Part]) -> asyncio.Future[Reply]:
        """The answer, once it is here; a caller that gives up leaves its answer to be thrown away."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        if self._transport is None or self.lost:
            future.set_exception(RedisAway("redis_away"))
            return future
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(hiredis.pack_command(tuple(parts)))  # type: ignore[arg-type]  # its stub says tuples of one
        self._waiting.append((future, self._loop.time()))
        self._watch()
        return future

    def cut(self) -> None:
        """End it now."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's: it is open."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its type

    def data_received(self, data: bytes) -> None:
        """asyncio's: give each answer to whoever waits longest."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's: nobody gets an answer any more."""
        self.lost = True
        if self._waiting:
            self._failed()
        for future, _ in self._waiting:
            if not future.done():
                future.set_exception(RedisAway("redis_away", reason=type(exc).__name__))
        self._waiting.clear()

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _watch(self) -> None:
        if self._watching or not self._waiting:
            return
        self._watching = True
        self._loop.call_at(self._waiting[0][1] + self._patience, self._judge)

    def _judge(self) -> None:
        self._watching = False
        if self._waiting and self._loop.time() - self._waiting[0][1] >= self._patience:
            self.cut()
        else:
            self._watch()


def _checked(reply: Reply) -> None:
    if isinstance(reply, hiredis.ReplyError):
        raise RedisAway("redis_refused_us", reason=foreign(reply))
