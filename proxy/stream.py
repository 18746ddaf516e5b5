"""The way back to the client: sends what arrives, and notices when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import aiohttp
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from controller.core import log as logs
from proxy.reading import Reader
from proxy.upstream import Answer

log = logs.get(__name__)

ResultT = TypeVar("ResultT")


class Whole(Response):
    """An answer in one piece; ``finished`` is called once it was handed to the connection."""

    def __init__(self, content: bytes, status: int, headers: Mapping[str, str], finished: Callable[[], None]) -> None:
        super().__init__(content, status, headers)
        self._finished = finished

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await super().__call__(scope, receive, send)
        self._finished()


class Relay(Response):
    """An answer that follows the upstream's stream until it ends, breaks or stalls, or the client leaves.

    A broken stream is left without its end, so that the client sees the break. ``finished`` is called in every
    case, after the upstream's connection is closed.
    """

    def __init__(
        self,
        answer: Answer,
        reader: Reader,
        headers: Mapping[str, str],
        finished: Callable[[], None],
        longest: timedelta,
    ) -> None:
        super().__init__(None, answer.status, headers)
        del self.headers["content-length"]
        self._answer = answer
        self._reader = reader
        self._finished = finished
        self._longest = longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what arrives."""
        try:
            async with asyncio.timeout(self._longest.total_seconds()):
                await unless_left(receive, self._send(send))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("proxy.stream_broke", error=type(error).__name__)
        except ClientDisconnect:
            log.info("proxy.client_left")
        finally:
            self._answer.close()
            self._finished()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._answer.content.iter_any():
            await self._pass(send, self._reader.feed(chunk))
        await self._pass(send, self._reader.rest())
        await send({"type": "http.response.body", "body": b""})

    async def _pass(self, send: Send, chunk: bytes) -> None:
        if chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            self._reader.sent()


async def unless_left(receive: Receive, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The result of ``work``; the request's body must have been read before.

    Raises ClientDisconnect, with ``work`` cancelled and ended, when the client leaves first.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
