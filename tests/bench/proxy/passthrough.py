"""The yardstick: aiohttp at both ends and nothing between them. No token, no quota, no usage, no error mapping.

``python -m tests.bench.proxy.passthrough PORT UPSTREAM``.
"""

from __future__ import annotations

import sys

import aiohttp
import uvloop
from aiohttp import web

SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)


def create(upstream: str) -> web.Application:
    """An application that sends every chat to ``upstream`` and everything back."""

    async def chat(request: web.Request) -> web.StreamResponse:
        body, headers = await request.read(), {"content-type": "application/json"}
        async with request.app[SESSION].post(f"{upstream}/chat/completions", data=body, headers=headers) as answer:
            kind = {"content-type": answer.headers["content-type"]}
            if "content-length" in answer.headers:
                return web.Response(body=await answer.read(), status=answer.status, headers=kind)
            response = web.StreamResponse(status=answer.status, headers=kind)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    async def open_session(app: web.Application) -> None:
        app[SESSION] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    app = web.Application(client_max_size=20_000_000)
    app.on_startup.append(open_session)
    app.router.add_post("/v1/chat/completions", chat)
    return app


if __name__ == "__main__":
    made = create(sys.argv[2])
    web.run_app(made, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, backlog=4096,
                loop=uvloop.new_event_loop(), print=None)  # fmt: skip
