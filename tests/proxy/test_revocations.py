"""Whose token dies is out: on every replica within a second, in the middle of an answer within ten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from controller.core.db import Database
from controller.domain import boxes, lifecycle, tokens
from tests import factories
from tests.proxy.conftest import WHY, Door, proxy
from tests.proxy.provider import event, streams
from tests.proxy.waiting import until

BODY = {"model": "small", "messages": [], "stream": True}


async def stop(database: Database, box_id: str) -> None:
    async with database.transaction() as session:
        await lifecycle.suspend(session, await boxes.get(session, box_id, lock=True), WHY)


async def revoke(database: Database, box_id: str) -> None:
    async with database.transaction() as session:
        await tokens.revoke_all(session, box_id)


@pytest.mark.parametrize("end", [stop, revoke])
async def test_an_open_stream_is_cut_and_metered(
    door: Door, database: Database, end: Callable[[Database, str], Awaitable[None]]
) -> None:
    door.provider.answer = streams(event(content="x" * 40), then=door.provider.hangs)
    async with door.http.stream("POST", "/v1/chat/completions", json=BODY) as answer:
        arriving = answer.aiter_bytes()
        await anext(arriving)
        await end(database, door.box_id)
        with pytest.raises(httpx.RemoteProtocolError):
            async with asyncio.timeout(10):
                await anext(arriving)
    async with asyncio.timeout(10):
        await door.provider.left.wait()
    (one,) = await door.measured()
    assert (one.output_tokens, one.estimated) == (10, True)


async def test_every_replica_refuses(door: Door, database: Database, dsn: str) -> None:
    with proxy(dsn, door.queue_url, door.provider.base) as other:
        url = f"{other}/v1/chat/completions"
        asked = {"model": "small", "messages": []}
        assert {(await door.ask()).status_code, (await door.http.post(url, json=asked)).status_code} == {200}
        await revoke(database, door.box_id)

        async def both_refuse() -> bool:
            return {(await door.ask()).status_code, (await door.http.post(url, json=asked)).status_code} == {403}

        assert await until(both_refuse, 5)


async def test_a_box_that_comes_back_is_heard_of_as_fast(door: Door, database: Database) -> None:
    await stop(database, door.box_id)
    assert (await door.ask()).status_code == 403
    async with database.transaction() as session:
        await lifecycle.reactivate(session, factories.mint(), await boxes.get(session, door.box_id, lock=True), WHY)
    assert await until(lambda: answers(door), 5)


async def answers(door: Door) -> bool:
    return (await door.ask()).status_code == 200
