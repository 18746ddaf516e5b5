"""How long a provider is waited for, and its connections kept."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from proxy import sessions
from proxy.settings import ProxySettings
from tests.charts.test_config import ALWAYS, CLOUD
from tests.proxy.conftest import Door, proxy
from tests.proxy.provider import DONE, completion, event
from tests.sandbox.stripe.serving import serving


async def who_calls(request: Request) -> PlainTextResponse:
    assert request.client is not None
    return PlainTextResponse(str(request.client.port))


async def test_an_idle_connection_is_not_used_for_another_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "IDLE_CONNECTION_SECONDS", 0.5)
    with serving(Starlette(routes=[Route("/", who_calls)])) as base:
        async with sessions.opened() as session:
            ports = []
            for pause in (0, 0, 0.6):
                await asyncio.sleep(pause)
                async with session.get(base) as answer:
                    ports.append(await answer.text())
    assert ports[0] == ports[1] != ports[2]


def test_a_silent_provider_is_told_before_the_gateway_gives_up() -> None:
    settings = ProxySettings(llm_upstream_url="http://127.0.0.1:9/v1", llm_upstream_key="k")
    longest = settings.upstream_hesitation + settings.upstream_idle
    assert longest.total_seconds() < ALWAYS[f"{CLOUD}.timeoutSeconds"]


class Slow:
    """A provider that says nothing for a stream of ``large``, and of ``small`` nothing that counts until ``awake``."""

    def __init__(self, door: Door) -> None:
        self.awake = asyncio.Event()
        self._silent = door.provider.silent

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        if asked["model"] == "large":
            return await self._silent(request)
        if not asked.get("stream"):
            await self.awake.wait()
            return web.json_response(completion(content="oi"))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        while not self.awake.is_set():
            await response.write(b": wait\n\n")
            await asyncio.sleep(0.05)
        await response.write(event(content="oi") + DONE)
        return response


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "comments"])
async def test_what_is_written_in_one_piece_or_shows_life_may_take_longer(door: Door, dsn: str, stream: bool) -> None:
    door.provider.answer = slow = Slow(door)
    with proxy(dsn, door.queue_url, door.provider.base, upstream_idle=2) as base:
        async with httpx.AsyncClient(base_url=base, headers=door.http.headers, timeout=60) as http:

            def ask(model: str, *, streamed: bool) -> asyncio.Task[httpx.Response]:
                body = {"model": model, "messages": [], "stream": streamed}
                return asyncio.create_task(http.post("/v1/chat/completions", json=body))

            patient, given_up = ask("small", streamed=stream), ask("large", streamed=True)
            assert (await given_up).status_code == 504
            slow.awake.set()
            assert b"oi" in (await patient).content
