"""A translated stream while its provider is there and says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.types import Message

from proxy import leaving
from proxy.live import Live
from proxy.pieces import Piece, Spoken
from proxy.translation import ProviderFault


async def pieces(*given: Piece) -> AsyncIterator[Piece]:
    for one in given:
        yield one


async def deltas(quiet_seconds: float, *given: Piece) -> list[dict[str, Any]]:
    """What each event says before the stream's end."""
    sent: list[bytes] = []

    async def receive() -> Message:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    live = Live(pieces(*given, Piece(finish="stop")), Spoken("k", "m", 1), lambda: None, told, quiet_seconds)
    await live.begin()
    await live({"extensions": leaving.extension(asyncio.get_running_loop().create_future())}, receive, send)
    events = b"".join(sent).split(b"\n\n")
    chunks = [orjson.loads(event[6:]) for event in events if event.startswith(b"data: {")]
    return [chunk["choices"][0]["delta"] for chunk in chunks]


def told(fault: ProviderFault) -> bytes:
    raise fault


FIRST = {"role": "assistant", "content": ""}


async def test_life_is_shown_by_events_that_say_nothing() -> None:
    said = await deltas(0, Piece(), Piece(), Piece(text="oi"), Piece())
    assert said == [FIRST, {}, {"content": "oi"}, {}, {}, {}]


async def test_a_short_silence_shows_nothing() -> None:
    assert await deltas(3600, Piece(), Piece(), Piece(text="oi"), Piece()) == [FIRST, {"content": "oi"}, {}]
