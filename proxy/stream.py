"""The way back to the client: sends what arrives, and notices when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from controller.core import failpoints
from controller.core import log as logs
from controller.core.errors import CloudError
from proxy.calls import Call
from proxy.errors import UpstreamFailed, UpstreamSilent
from proxy.leaving import CutOff, unless_left
from proxy.reading import Reader
from proxy.upstream import Answer

log = logs.get(__name__)


class Whole(Response):
    """An answer in one piece, sent once its call is written down."""

    def __init__(
        self, content: bytes, status: int, headers: Mapping[str, str], call: Call, finished: Callable[[], None]
    ) -> None:
        super().__init__(content, status, headers)
        self._call = call
        self._finished = finished

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
            self._call.reader.sent()
        finally:
            self._finished()


class Relay(Response):
    """An answer that follows the upstream's stream until it ends, breaks or stalls, or the client leaves or is cut off.

    A stream that breaks is left without its end, so that the client sees the break; one that stalls says so first, in
    an event that ``told`` makes. Nothing is sent before the call is durable, the head included; so ``first`` must have
    been read and the call begun. The last frame goes out when the measurement is in a store. ``finished`` is called in
    every case, after the upstream's connection is closed.
    """

    def __init__(
        self,
        answer: Answer,
        first: bytes,
        headers: Mapping[str, str],
        call: Call,
        longest: timedelta,
        told: Callable[[CloudError], bytes],
        finished: Callable[[], None],
    ) -> None:
        super().__init__(None, answer.status, headers)
        del self.headers["content-length"]
        self._answer = answer
        self._first = first
        self._call = call
        self._longest = longest
        self._told = told
        self._finished = finished

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what arrives."""
        try:
            async with asyncio.timeout(self._longest.total_seconds()):
                await unless_left(scope, self._send(send), self._call.cut)
        except UpstreamSilent as error:
            log.warning("proxy.stream_stalled", request_id=self._call.row.request_id)
            await self._tell(send, error)
        except (UpstreamFailed, OSError, TimeoutError) as error:
            log.warning("proxy.stream_broke", error=type(error).__name__)
        except ClientDisconnect:
            log.info("proxy.client_left")
        except CutOff:
            log.info("proxy.call_cut", request_id=self._call.row.request_id)
        finally:
            self._answer.close()
            self._finished()

    async def _send(self, send: Send) -> None:
        reader = self._call.reader
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await self._pass(send, self._first)
        failpoints.hit("proxy.mid_stream")
        async for chunk in self._answer:
            kept = reader.feed(chunk)
            if reader.final:
                await self._pass(send, kept)
            elif kept:  # most of what comes, so without a step in between
                await send({"type": "http.response.body", "body": kept, "more_body": True})
                reader.sent()
        await self._pass(send, reader.rest())
        if reader.delivered:
            await self._call.hand_on()
        await send({"type": "http.response.body", "body": b""})

    async def _tell(self, send: Send, error: UpstreamSilent) -> None:
        """The error as the stream's last event, unless another event stands there half."""
        if not self._call.reader.torn:
            await send({"type": "http.response.body", "body": self._told(error), "more_body": True})

    async def _pass(self, send: Send, chunk: bytes) -> None:
        """Send it: what stands before the last frame at once, the frame itself when it may go."""
        reader = self._call.reader
        before, last = (chunk[: reader.final_at], chunk[reader.final_at :]) if reader.final else (chunk, b"")
        if before:
            await send({"type": "http.response.body", "body": before, "more_body": True})
            reader.sent()
        if last:
            reader.passing()
            await self._call.hand_on()
            await send({"type": "http.response.body", "body": last, "more_body": True})
            reader.sent()


async def first_chunk(answer: Answer, reader: Reader) -> bytes:
    """The first bytes of a stream that may go to the client; nothing if it ends without any.

    Raises UpstreamFailed if it breaks off before, UpstreamSilent if it stalls.
    """
    async for chunk in answer:
        if kept := reader.feed(chunk):
            return kept
    return reader.rest()
