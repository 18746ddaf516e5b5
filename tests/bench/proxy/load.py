"""The client's side: connections that ask again and again, and what they saw of the answers."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import httptools

_STAMP = re.compile(rb"due=([0-9.]+);")
_END = b"\n\n"


class Broken(Exception):
    """Raised when the connection ends before the answer does."""


@dataclass
class Answer:
    """One response: when it was asked for, when its body began, and of each chunk how late it was."""

    asked_at: float
    status: int = 0
    first_at: float = 0.0
    ended: bool = False
    late: list[float] = field(default_factory=list)
    said: bytes = b""
    """How the body begins, for whoever wonders why it failed."""


class Lane(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._held = b""
        self._done: asyncio.Future[Answer] | None = None
        self.answer = Answer(0.0)

    @classmethod
    async def open(cls, port: int) -> Lane:
        """A connection to the loopback ``port``."""
        _, lane = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return lane

    async def ask(self, request: bytes) -> Answer:
        """The answer, once it has ended. Raises Broken."""
        self.begin(request)
        assert self._done is not None
        return await self._done

    def begin(self, request: bytes) -> None:
        """Ask; ``answer`` fills as it comes."""
        self.answer, self._held = Answer(time.monotonic()), b""
        self._done = asyncio.get_running_loop().create_future()
        if self._transport is None:
            self._done.set_exception(Broken())
            return
        self._transport.write(request)

    @property
    def done(self) -> asyncio.Future[Answer]:
        """Done when the answer has ended, or broke."""
        assert self._done is not None
        return self._done

    def close(self) -> None:
        """End the connection, whatever is under way."""
        if self._done is not None and self._done.done():
            self._done.exception()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(Broken())
            self._done.exception()  # a lane that nobody waits for any more may break unheard

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self.answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        now, answer = time.monotonic(), self.answer
        if not answer.first_at:
            answer.first_at, answer.said = now, data[:300]
        whole, border, self._held = (self._held + data).rpartition(_END)
        if border:
            answer.late += [now - float(due) for due in _STAMP.findall(whole)]

    def on_message_complete(self) -> None:
        self.answer.ended = True
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        if self._done is not None and not self._done.done():
            self._done.set_result(self.answer)


@dataclass
class Counted:
    """What a cell saw."""

    answers: int = 0
    failed: int = 0
    seconds: float = 0.0


async def closed(ports: Sequence[int], requests: Sequence[bytes], lanes: int, seconds: float) -> Counted:
    """``lanes`` connections, each of which asks again as soon as it was answered, for ``seconds``."""
    counted, turns = Counted(), itertools.cycle(requests)
    start = time.monotonic()
    await asyncio.gather(*(_ask_on(port, turns, start + seconds, counted) for port in _spread(ports, lanes)))
    counted.seconds = time.monotonic() - start
    return counted


async def _ask_on(port: int, turns: Iterator[bytes], until: float, counted: Counted) -> None:
    lane, asked = await Lane.open(port), 0
    while not asked or time.monotonic() < until:  # once in any case: a machine may be too busy for more
        asked += 1
        try:
            fits = (await lane.ask(next(turns))).status == 200
        except Broken:
            fits, lane = False, await Lane.open(port)
        counted.answers += fits
        counted.failed += not fits
    lane.close()


async def streams(ports: Sequence[int], requests: Sequence[bytes], count: int, over: float) -> list[Lane]:
    """``count`` streams, asked for evenly within ``over`` seconds."""
    opened = [await Lane.open(port) for port in _spread(ports, count)]
    turns = itertools.cycle(requests)
    for lane in opened:
        lane.begin(next(turns))
        if over:
            await asyncio.sleep(over / count)
    return opened


async def settled(lanes: Sequence[Lane], seconds: float) -> int:
    """How many of the streams have ended whole, after ``seconds`` at most; none is open afterwards."""
    await asyncio.wait([lane.done for lane in lanes], timeout=seconds)
    finished = sum(lane.answer.ended and lane.answer.status == 200 for lane in lanes)
    for lane in lanes:
        lane.close()
    return finished


def _spread(ports: Sequence[int], count: int) -> Iterator[int]:
    return itertools.islice(itertools.cycle(ports), count)
