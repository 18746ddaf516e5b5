"""Answers under way from the translator to the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import aiohttp
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from controller.core import log as logs
from proxy.leaving import unless_left
from proxy.pieces import Piece, Spoken
from proxy.translation import ProviderFault

log = logs.get(__name__)

QUIET_SECONDS = 10.0
"""How long a provider that is there and says nothing is passed on as nothing. 10 s: within it an error is still an
answer of its own, which another provider can make good; the proxy waits twice as long, clients longer."""


class Live(Response):
    """A translated stream. One that breaks says so in an event and has no end; ``finished`` is called in every case."""

    def __init__(
        self,
        pieces: AsyncIterator[Piece],
        spoken: Spoken,
        finished: Callable[[], None],
        told: Callable[[ProviderFault], bytes],
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        super().__init__(None, 200, media_type="text/event-stream")
        del self.headers["content-length"]
        self._pieces = pieces
        self._spoken = spoken
        self._finished = finished
        self._told = told
        self._first = b""
        self._quiet_seconds = quiet_seconds
        self._quiet_since = asyncio.get_running_loop().time()

    async def begin(self) -> None:
        """Return once there is something to send, so that what goes wrong before is no stream that broke."""
        try:
            async for piece in self._pieces:
                self._first = self._said(piece)
                if self._first:
                    return
        except BaseException:
            await self._close()
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what arrives."""
        try:
            await unless_left(scope, self._send(send))
        except ClientDisconnect:
            log.info("translator.client_left")
        finally:
            await self._close()
            self._finished()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await _pass(send, self._first)
        try:
            async for piece in self._pieces:
                await _pass(send, self._said(piece))
            if not self._spoken.complete:
                raise ProviderFault(502, "the model's answer broke off")
        except ProviderFault as fault:
            log.warning("translator.stream_broke", status=fault.status)
            await _pass(send, self._told(fault))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("translator.stream_broke", error=type(error).__name__)
            silent = isinstance(error, TimeoutError)
            said = "the model stopped answering" if silent else "the model's answer broke off"
            await _pass(send, self._told(ProviderFault(504 if silent else 502, said)))
        else:
            await send({"type": "http.response.body", "body": self._spoken.end()})

    def _said(self, piece: Piece) -> bytes:
        """The events of ``piece``; a sign of life if it has none, and there were none for long."""
        said, now = self._spoken.stream(piece), asyncio.get_running_loop().time()
        if not said and now - self._quiet_since >= self._quiet_seconds:
            said = self._spoken.alive()
        if said:
            self._quiet_since = now
        return said

    async def _close(self) -> None:
        if isinstance(self._pieces, AsyncGenerator):
            await self._pieces.aclose()


class Raw(Response):
    """A provider's answer as it comes."""

    def __init__(self, answer: aiohttp.ClientResponse, finished: Callable[[], None]) -> None:
        super().__init__(None, answer.status, {"content-type": answer.headers.get("content-type", "application/json")})
        del self.headers["content-length"]
        self._answer = answer
        self._finished = finished

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what arrives; a break is a break."""
        try:
            await unless_left(scope, self._send(send))
        except (ClientDisconnect, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("translator.raw_ended", error=type(error).__name__)
        finally:
            self._answer.close()
            self._finished()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._answer.content.iter_any():
            await _pass(send, chunk)
        await send({"type": "http.response.body", "body": b""})


async def _pass(send: Send, content: bytes) -> None:
    if content:
        await send({"type": "http.response.body", "body": content, "more_body": True})
