"""A TCP proxy on loopback that passes bytes on until a test makes it lose, cut or refuse them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from tests.faults.loops import Loop

COMMIT = b"COMMIT;"
"""As asyncpg spells the end of a transaction."""

_CHUNK = 65536


class Cut(Enum):
    """Where a connection breaks when a transaction is committed."""

    BEFORE = "before the server hears of it"
    AFTER = "after the server did it and before the client hears so"


class Wire:
    """Everything that connects to ``port`` reaches ``target``, another port of this machine."""

    def __init__(self, loop: Loop, target: int) -> None:
        self._loop = loop
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._loss = 0.0
        self._draw = random.Random(0)
        self._cuts: list[Cut] = []
        self.lost = 0
        """Replies that never arrived."""
        self.cut: list[Cut] = []
        """Commits at which the connection broke."""
        self._server = loop.call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def lose_replies(self, share: float, seed: int = 1) -> None:
        """Drop this share of the server's answers, each with its connection; 0 ends it."""
        self._draw = random.Random(seed)
        self._loss = share

    def cut_commits(self, cuts: list[Cut]) -> None:
        """Break the connection of the next commits, one for each of ``cuts``."""
        self._cuts = list(cuts)

    def break_all(self) -> None:
        """Cut every open connection."""
        self._loop.loop.call_soon_threadsafe(self._break_all)

    def close(self) -> None:
        """Stop listening and cut what is open."""
        self._server.close()
        self.break_all()

    def _break_all(self) -> None:
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, server}
        self._open |= ends
        pending: list[Cut] = []
        up = self._pump(reader, server, lambda chunk: self._may_go(chunk, pending))
        down = self._pump(there, writer, lambda _: self._may_return(pending))
        tasks = [asyncio.create_task(up), asyncio.create_task(down)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._open -= ends

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, may: Callable[[bytes], bool]
    ) -> None:
        with suppress(OSError):
            while chunk := await source.read(_CHUNK):
                if not may(chunk):
                    return
                sink.write(chunk)
                await sink.drain()

    def _may_go(self, chunk: bytes, pending: list[Cut]) -> bool:
        if not self._cuts or COMMIT not in chunk:
            return True
        cut = self._cuts.pop(0)
        if cut == Cut.BEFORE:
            self.cut.append(cut)
            return False
        pending.append(cut)
        return True

    def _may_return(self, pending: list[Cut]) -> bool:
        if pending:
            self.cut.append(pending.pop())
            return False
        if self._loss and self._draw.random() < self._loss:
            self.lost += 1
            return False
        return True
