"""Connections to a provider are used again while they are fresh, and given up before the provider does."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from proxy import sessions
from tests.sandbox.stripe.serving import serving


async def who_calls(request: Request) -> PlainTextResponse:
    assert request.client is not None
    return PlainTextResponse(str(request.client.port))


async def test_an_idle_connection_is_not_used_for_another_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "IDLE_CONNECTION_SECONDS", 0.5)
    minute = timedelta(minutes=1)
    with serving(Starlette(routes=[Route("/", who_calls)])) as base:
        async with sessions.opened(minute, minute) as session:
            ports = []
            for pause in (0, 0, 0.6):
                await asyncio.sleep(pause)
                async with session.get(base) as answer:
                    ports.append(await answer.text())
    assert ports[0] == ports[1] != ports[2]
