"""What the official client and a plain one get through the proxy."""

from __future__ import annotations

import json
from contextlib import suppress

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from proxy import outlines
from tests.proxy.conftest import Door, proxy
from tests.proxy.provider import DONE, KEY, USAGE, completion, event, says, streams

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "oi"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "São Paulo"}'}}


async def test_the_official_client_reads_an_answer(door: Door) -> None:
    made = await door.openai.chat.completions.create(model="small", messages=HELLO)
    assert made.choices[0].message.content == "Olá, tudo bem?"
    assert made.usage is not None
    assert made.usage.total_tokens == 18


async def test_the_official_client_reads_a_stream(door: Door) -> None:
    door.provider.answer = streams(event(content="Olá"), event(content=", mundo"), event(usage=USAGE), DONE)
    stream = await door.openai.chat.completions.create(model="small", messages=HELLO, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Olá, mundo"


async def test_tool_calls_pass_through(door: Door) -> None:
    door.provider.answer = says(json.dumps(completion(content=None, tool_calls=[CALL])).encode())
    made = await door.openai.chat.completions.create(model="small", messages=HELLO)
    assert [call.model_dump() for call in made.choices[0].message.tool_calls or ()] == [CALL]


RAW = b'"unknown_parameter":[1.0,  2e3],"model":"small", "messages":[{"role":"developer","content":"\\u00e9"}]}'


LONG = b'"max_tokens":7, "user":"%s",' % (b"x" * outlines.SHORT_BYTES)


@pytest.mark.parametrize("limit", [b'"max_completion_tokens":5,', b'"max_tokens": 16384, ', LONG])
async def test_a_body_with_a_limit_reaches_the_provider_byte_for_byte_under_our_key(door: Door, limit: bytes) -> None:
    await door.http.post("/v1/chat/completions", content=b"{" + limit + RAW)
    assert (door.provider.bodies, door.provider.keys) == ([b"{" + limit + RAW], [f"Bearer {KEY}"])


async def test_a_body_without_a_limit_gets_the_models_and_changes_in_nothing_else(door: Door) -> None:
    await door.http.post("/v1/chat/completions", content=b" {" + RAW)
    assert door.provider.bodies == [b' {"max_completion_tokens":16384,' + RAW]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"max_tokens": 10**6}, {"max_tokens": 16384}),
        ({"max_tokens": None}, {"max_completion_tokens": 16384}),
        ({"max_tokens": 99_999, "max_completion_tokens": 9, "n": 2}, {"max_tokens": 9, "max_completion_tokens": 9}),
    ],
)
async def test_a_limit_beyond_the_models_is_cut_to_it(
    door: Door, given: dict[str, int | None], sent: dict[str, int]
) -> None:
    await door.ask(**given)
    body = json.loads(door.provider.bodies[0])
    assert {name: value for name, value in body.items() if name.startswith("max_")} == sent


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
@pytest.mark.parametrize("given", [0, -1, 1.5, "7", True, [1]])
async def test_a_number_that_parsers_may_read_differently_is_400(door: Door, name: str, given: object) -> None:
    assert (await door.ask(**{name: given})).status_code == 400
    assert door.provider.bodies == []


async def test_an_answer_reaches_the_client_byte_for_byte(door: Door) -> None:
    content = b'{"id": "x",   "choices":[], "new_field": "\\u00e7"}'
    door.provider.answer = says(content)
    assert (await door.ask()).content == content


async def test_a_stream_cut_within_a_character_arrives_whole(door: Door) -> None:
    whole = event(content="ação") + event(content="é") + event(usage=USAGE) + DONE
    door.provider.answer = streams(*(whole[at : at + 5] for at in range(0, len(whole), 5)))
    assert (await door.ask(stream=True, stream_options={"include_usage": True})).content == whole


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_usage_that_nobody_asked_for_is_asked_upstream_and_hidden(door: Door, line_end: bytes) -> None:
    parts = [part.replace(b"\n", line_end) for part in (event(content="oi"), event(usage=USAGE), DONE)]
    door.provider.answer = streams(*parts)
    answer = await door.ask(stream=True, stream_options={"other": 1})
    assert answer.content == parts[0] + parts[2]
    assert json.loads(door.provider.bodies[0])["stream_options"] == {"other": 1, "include_usage": True}


async def test_a_broken_stream_is_a_break_for_the_client_and_not_an_end(door: Door) -> None:
    door.provider.answer = streams(event(content="half a sen"), then=door.provider.breaks)
    stream = await door.openai.chat.completions.create(model="small", messages=HELLO, stream=True)
    assert (await anext(stream)).choices[0].delta.content == "half a sen"
    door.provider.cut.set()
    with pytest.raises(openai.APIConnectionError):
        await anext(stream)


async def stall(door: Door, dsn: str, *parts: bytes) -> bytes:
    """What a client has got when the provider says ``parts``, and nothing more for too long."""
    door.provider.answer = streams(*parts, then=door.provider.hangs)
    body = {"model": "small", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    got: list[bytes] = []
    with proxy(dsn, door.queue_url, door.provider.base, upstream_idle=0.5) as base:
        async with door.http.stream("POST", f"{base}/v1/chat/completions", json=body) as answer:
            with suppress(httpx.RemoteProtocolError):  # it has no end
                async for part in answer.aiter_bytes():
                    got.append(part)
    return b"".join(got)


async def test_a_stalled_stream_ends_with_an_error_and_is_measured_by_what_was_delivered(door: Door, dsn: str) -> None:
    first = event(content="x" * 40)
    said = (await stall(door, dsn, first)).removeprefix(first)
    assert json.loads(said.removeprefix(b"data: "))["error"]["code"] == "upstream_silent"
    (one,) = await door.measured()
    assert (one.output_tokens, one.estimated) == (10, True)


async def test_a_stall_within_an_event_is_a_break(door: Door, dsn: str) -> None:
    first = event(content="x") + b'data: {"id": '
    assert await stall(door, dsn, first) == first


async def test_the_official_client_raises_for_a_stall(door: Door, dsn: str) -> None:
    door.provider.answer = streams(event(content="half a sen"), then=door.provider.hangs)
    with proxy(dsn, door.queue_url, door.provider.base, upstream_idle=0.5) as base:
        client = door.openai.with_options(base_url=f"{base}/v1")
        stream = await client.chat.completions.create(model="small", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError, match="upstream silent"):
            _ = [one async for one in stream]


async def test_every_answer_carries_a_request_id_of_its_own(door: Door) -> None:
    paths = ["/v1/models", "/healthz", "/readyz", "/metrics", "/nowhere"]
    answers = [await door.http.get(path) for path in paths] + [await door.ask(), await door.ask(messages=1)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404, 200, 400]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


async def test_the_public_models_are_listed(door: Door) -> None:
    assert [model.id async for model in door.openai.models.list()] == ["default", "small", "large"]


async def test_the_metrics_count_answers_and_tokens(door: Door) -> None:
    await door.ask()
    shown = (await door.http.get("/metrics")).text
    assert 'proxy_requests_total{status="200"} 1.0' in shown
    assert 'proxy_tokens_total{direction="output"} 7.0' in shown
