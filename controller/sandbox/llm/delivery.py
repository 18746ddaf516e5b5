"""Sends an answer as its script asks: late, in odd pieces, with stalls, or broken off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from controller.sandbox.llm.ledger import End
from controller.sandbox.llm.scripts import Faults

Ended = Callable[[End, int], None]


class Delivery(Response):
    """An answer under way. ``ended`` is told once how it ended and how many chunks were written."""

    def __init__(
        self,
        chunks: Iterable[bytes],
        faults: Faults,
        *,
        status: int,
        headers: Mapping[str, str],
        ended: Ended,
        broken: bytes = b"",
    ) -> None:
        """``broken`` is the event that goes before a cut by error."""
        self._chunks = chunks
        self._faults = faults
        self._broken = broken
        self._ended: Ended | None = ended
        self._written = 0
        self.status_code = status
        self.background = None
        self.raw_headers = [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all, unless the client goes first: then the model stops at once."""
        sending = asyncio.create_task(self._send(send))
        going = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({sending, going}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, going):
                task.cancel()
            await asyncio.gather(sending, going, return_exceptions=True)
            self._tell("gone")

    async def _send(self, send: Send) -> None:
        faults = self._faults
        await asyncio.sleep(faults.delay_ms / 1000)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # Headers alone reach the client with an empty piece of the body.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        for index, chunk in enumerate(self._chunks):
            if index == faults.stall_after:
                await asyncio.sleep(faults.stall_ms / 1000)
            if index == faults.cut_after:
                await self._cut(send)
                return
            if index:
                await asyncio.sleep(faults.chunk_delay_ms / 1000)
            for piece in _segments(chunk, faults.segment_bytes):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                if faults.segment_bytes:
                    await asyncio.sleep(0)
            self._written += 1
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        # Told before anything else runs: who has read the end finds it recorded.
        self._tell("whole")

    async def _cut(self, send: Send) -> None:
        """The server closes the connection of an answer that returns before its end."""
        if self._faults.cut_by == "error" and self._broken:
            await send({"type": "http.response.body", "body": self._broken, "more_body": True})
        self._tell("cut")

    def _tell(self, end: End) -> None:
        if self._ended is not None:
            self._ended(end, self._written)
            self._ended = None


def halves(body: bytes) -> list[bytes]:
    """``body`` in two pieces, so that an answer that is no stream can stall or break off."""
    middle = len(body) // 2
    return [body[:middle], body[middle:]]


def _segments(chunk: bytes, size: int | None) -> Iterator[bytes]:
    if size is None:
        yield chunk
        return
    for at in range(0, len(chunk), size):
        yield chunk[at : at + size]


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
