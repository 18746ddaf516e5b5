"""A provider of our own: answers what a test says, remembers what it was asked, byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "sk-provider-key-never-seen-by-a-client"
USAGE = {
    "prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def completion(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    head = {"id": "c1", "object": "chat.completion", "created": 1, "model": "small"}
    return {**head, "choices": [choice], "usage": USAGE}


def event(*, usage: dict[str, Any] | None = None, **delta: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": None}] if usage is None else []
    chunk: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "small"}
    data = json.dumps({**chunk, "choices": choices, "usage": usage}, ensure_ascii=False)
    return b"data: " + data.encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def says(content: bytes, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=content, status=status, headers={"content-type": "application/json", **headers})

    return answer


def streams(*parts: bytes, then: Callable[[web.Request], Awaitable[None]] | None = None) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0)
        if then is not None:
            await then(request)
        return response

    return answer


@dataclass
class Provider:
    base: str = ""
    answer: Answer = field(default_factory=lambda: says(json.dumps(completion(content="Olá, tudo bem?")).encode()))
    bodies: list[bytes] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    cut: asyncio.Event = field(default_factory=asyncio.Event)

    async def was_asked(self) -> bool:
        """Whether a request has arrived whole."""
        return bool(self.bodies)

    def parsed(self) -> list[dict[str, Any]]:
        """The bodies, read."""
        return [json.loads(body) for body in self.bodies]

    async def breaks(self, request: web.Request) -> None:
        """Cut the connection in the middle of the answer, once ``cut`` is set."""
        await self.cut.wait()
        assert request.transport is not None
        request.transport.abort()
        raise asyncio.CancelledError

    async def hangs(self, _: web.Request) -> None:
        """Say nothing more; ``left`` is set when the caller goes away."""
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()

    async def silent(self, request: web.Request) -> web.StreamResponse:
        await self.hangs(request)
        raise AssertionError("unreachable")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        self.keys.append(request.headers["authorization"])
        self.paths.append(request.path)
        return await self.answer(request)


@asynccontextmanager
async def running() -> AsyncIterator[Provider]:
    provider = Provider()
    app = web.Application(client_max_size=20_000_000)
    app.router.add_post("/{path:.*}", provider.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.base = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield provider
    await runner.cleanup()
