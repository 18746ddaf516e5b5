"""One measurement for each response of which a byte reached a client, whatever became of it."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import httpx
import pytest

from tests.proxy.catalogs import opened
from tests.proxy.conftest import Door, proxy
from tests.proxy.provider import DONE, USAGE, completion, event, says, streams
from tests.proxy.waiting import until

FIGURES = (11, 7, 3, 2, False)


async def test_an_answer_is_measured_with_the_providers_figures_under_its_request_id(door: Door) -> None:
    answer = await door.ask()
    (one,) = await door.measured()
    assert (one.request_id, one.box_id, one.model) == (answer.headers["x-request-id"], door.box_id, "small")
    assert (one.input_tokens, one.output_tokens, one.cached_tokens, one.reasoning_tokens, one.estimated) == FIGURES


async def test_a_stream_is_measured_with_the_providers_figures(door: Door) -> None:
    door.provider.answer = streams(event(content="oi"), event(usage=USAGE), DONE)
    await door.ask(stream=True)
    (one,) = await door.measured()
    assert (one.input_tokens, one.output_tokens, one.cached_tokens, one.reasoning_tokens, one.estimated) == FIGURES


async def test_a_client_that_leaves_closes_the_provider_and_pays_for_what_it_got(door: Door) -> None:
    door.provider.answer = streams(event(content="x" * 400), then=door.provider.hangs)
    body = {"model": "small", "messages": [{"role": "user", "content": "oi"}], "stream": True}
    async with door.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        await anext(answer.aiter_bytes())
    async with asyncio.timeout(10):
        await door.provider.left.wait()
    (one,) = await door.measured()
    assert (one.output_tokens, one.estimated) == (100, True)
    assert one.input_tokens == -(-len(answer.request.content) // 4)


async def test_a_stream_that_breaks_off_is_measured_by_what_was_delivered(door: Door) -> None:
    call = {"index": 0, "function": {"name": "abcd", "arguments": "efgh"}}
    parts = event(content="ããã") + event(reasoning_content="yyyyyy") + event(tool_calls=[call])
    door.provider.answer = streams(parts, then=door.provider.breaks)
    body = {"model": "small", "messages": [], "stream": True}
    async with door.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        arriving = answer.aiter_bytes()
        assert await anext(arriving) == parts
        door.provider.cut.set()
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(arriving)
    (one,) = await door.measured()
    assert (one.output_tokens, one.estimated) == (5, True)


async def test_a_client_that_leaves_before_the_first_byte_pays_nothing(door: Door) -> None:
    door.provider.answer = door.provider.silent
    leaving = asyncio.create_task(door.ask())
    await until(door.provider.was_asked)
    leaving.cancel()
    async with asyncio.timeout(10):
        await door.provider.left.wait()
    door.provider.answer = says(json.dumps(completion(content="x")).encode())
    answer = await door.ask()
    assert [one.request_id for one in await door.measured()] == [answer.headers["x-request-id"]]


async def test_a_stream_without_a_byte_is_502_and_not_measured(door: Door) -> None:
    door.provider.answer = streams()
    assert (await door.ask(stream=True)).status_code == 502
    door.provider.answer = streams(event(content="x"), DONE)
    answer = await door.ask(stream=True)
    assert [one.request_id for one in await door.measured()] == [answer.headers["x-request-id"]]


PRICED = """
  small: {provider: first, fallbacks: [spare], prices: {input: 1000000, cached: 100000, output: 2000000}}
  spare: {provider: second, plans: [], prices: {output: 5000000}}
"""


@pytest.mark.parametrize(("status", "cost"), [(200, 8 * 1 + 1 + 7 * 2), (503, 7 * 5)])
async def test_what_a_call_costs_is_measured_by_the_prices_of_the_model_that_answered(
    door: Door, dsn: str, status: int, cost: int
) -> None:
    async with opened(door, dsn, PRICED) as at:
        at.first.answer = says(json.dumps(completion(content="x")).encode(), status)
        assert (await at.ask()).status_code == 200
        (one,) = await door.measured()
    assert (one.model, one.cost_microusd) == ("small", cost)


@pytest.mark.parametrize("wrong", [-1, "7", None, True, 2**60, 1.5])
async def test_figures_that_cannot_be_tokens_are_replaced_by_an_estimate(door: Door, wrong: object) -> None:
    usage = {**USAGE, "completion_tokens": wrong, "prompt_tokens_details": [], "completion_tokens_details": None}
    door.provider.answer = says(json.dumps({**completion(content="x" * 8), "usage": usage}).encode())
    assert (await door.ask()).status_code == 200
    (one,) = await door.measured()
    assert (one.output_tokens, one.cached_tokens, one.estimated) == (2, 0, True)


async def test_without_redis_usage_goes_straight_to_postgres_and_into_the_months_sums(door: Door, dsn: str) -> None:
    with proxy(dsn, "redis://127.0.0.1:9/0", door.provider.base) as base:
        async with httpx.AsyncClient(headers=door.http.headers, timeout=20) as http:
            body = {"model": "small", "messages": []}
            ids = {(await http.post(f"{base}/v1/chat/completions", json=body)).headers["x-request-id"] for _ in "abc"}
        connection = await asyncpg.connect(dsn)

        async def stored() -> bool:
            return {row["request_id"] for row in await connection.fetch("SELECT request_id FROM usage_events")} == ids

        assert await until(stored)
        sums = await connection.fetchrow("SELECT requests, input_tokens, output_tokens FROM usage_monthly")
        await connection.close()
    assert sums is not None
    assert tuple(sums) == (3, 33, 21)
