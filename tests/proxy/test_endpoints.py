"""Responses, embeddings and Anthropic's messages: the vendors' own clients, metered and held like a chat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anthropic
import httpx
import openai
import pytest

from controller.core.db import Database
from proxy.limits import HEADER
from proxy.reading import estimate
from tests.proxy.conftest import Door, proxy
from tests.proxy.provider import streams
from tests.proxy.test_limits import PRO, spend
from tests.proxy.wires import Wires, client, wires

__all__ = ["client", "wires"]

MODELS = ["openai", "anthropic"]
SAID: list[anthropic.types.MessageParam] = [{"role": "user", "content": "oi"}]
BODIES: dict[str, dict[str, Any]] = {
    "responses": {"model": "small", "input": "oi"},
    "embeddings": {"model": "small", "input": "oi"},
    "messages": {"model": "small", "messages": [{"role": "user", "content": "oi"}], "max_tokens": 99},
}


def claude(base_url: str, token: str) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key=token, base_url=base_url, max_retries=0, timeout=30)


@pytest.fixture
async def claudes(client: openai.AsyncOpenAI) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with claude(str(client.base_url).removesuffix("/v1/"), client.api_key) as made:
        yield made


async def respond(client: openai.AsyncOpenAI, stream: bool, model: str = "openai") -> str:
    if not stream:
        return (await client.responses.create(model=model, input="oi")).output_text
    async with client.responses.stream(model=model, input="oi") as parts:
        return (await parts.get_final_response()).output_text


async def say(claudes: anthropic.AsyncAnthropic, model: str, stream: bool) -> str:
    if stream:
        async with claudes.messages.stream(model=model, messages=SAID, max_tokens=500) as parts:
            return await parts.get_final_text()
    (block,) = (await claudes.messages.create(model=model, messages=SAID, max_tokens=500)).content
    assert block.type == "text"
    return block.text


async def figures(door: Door) -> tuple[int, int, int, bool]:
    (one,) = await door.measured()
    return one.input_tokens, one.output_tokens, one.cached_tokens, one.estimated


def told(wires: Wires) -> tuple[int, int, int, bool]:
    """The model's own account of the one call."""
    (request,) = wires.requests()
    return request["usage"]["prompt_tokens"], request["usage"]["completion_tokens"], 2, False


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_response_is_read_by_the_official_client_and_metered(
    wires: Wires, client: openai.AsyncOpenAI, door: Door, stream: bool
) -> None:
    wires.script({"text": "Olá, mundo ✨", "cached_tokens": 2, "segment_bytes": 7})
    assert await respond(client, stream) == "Olá, mundo ✨"
    assert await figures(door) == told(wires)
    assert wires.requests()[0]["body"]["max_output_tokens"] == 16_384


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", MODELS)
async def test_a_message_is_read_by_anthropics_client_and_metered(
    wires: Wires, claudes: anthropic.AsyncAnthropic, door: Door, model: str, stream: bool
) -> None:
    wires.script({"text": "Olá, mundo ✨", "cached_tokens": 2, "segment_bytes": 7})
    assert await say(claudes, model, stream) == "Olá, mundo ✨"
    assert await figures(door) == told(wires)
    assert wires.requests()[0]["api"] == "messages"


async def test_embeddings_are_read_by_the_official_client_and_metered_without_an_output(
    wires: Wires, client: openai.AsyncOpenAI, door: Door
) -> None:
    wires.script()
    made = await client.embeddings.create(model="openai", input=["um texto", "outro"])
    assert [len(one.embedding) for one in made.data] == [1536, 1536]
    assert await figures(door) == (made.usage.prompt_tokens, 0, 0, False)


async def test_a_stream_that_breaks_off_is_measured_by_what_was_delivered(
    wires: Wires, claudes: anthropic.AsyncAnthropic, door: Door
) -> None:
    # what arrives together with the break goes with it, so there is time between one event and the next
    wires.script({"text": "12345678" * 4, "chunk_chars": 8, "cut_after": 6, "chunk_delay_ms": 50})
    body = {**BODIES["messages"], "model": "openai", "stream": True}
    headers = {"x-api-key": door.token, "anthropic-version": "2023-06-01"}
    seen: list[bytes] = []

    async def follow() -> None:
        async with (
            httpx.AsyncClient(base_url=str(claudes.base_url)) as http,
            http.stream("POST", "/v1/messages", json=body, headers=headers) as answer,
        ):
            async for chunk in answer.aiter_bytes():
                seen.append(chunk)

    with pytest.raises(httpx.RemoteProtocolError):
        await follow()
    spent, made, _, estimated = await figures(door)
    assert (spent, estimated) == (wires.requests()[0]["usage"]["prompt_tokens"], True)
    assert made == estimate(8 * b"".join(seen).count(b"12345678"))


@pytest.mark.parametrize("endpoint", BODIES)
async def test_an_endpoint_that_the_models_provider_does_not_have_is_404(
    client: openai.AsyncOpenAI, endpoint: str
) -> None:
    body = {**BODIES[endpoint], "model": "gemini"}
    headers = {"authorization": f"Bearer {client.api_key}"}
    async with httpx.AsyncClient(headers=headers) as http:
        answer = await http.post(f"{client.base_url}{endpoint}", json=body)
    assert (answer.status_code, "endpoint not served" in answer.text) == (404, True)


@pytest.mark.parametrize(("status", "error"), [(400, anthropic.BadRequestError), (529, anthropic.APIStatusError)])
@pytest.mark.parametrize("model", MODELS)
async def test_anthropics_client_is_told_an_error_in_its_own_form(
    wires: Wires, claudes: anthropic.AsyncAnthropic, model: str, status: int, error: type[anthropic.APIStatusError]
) -> None:
    wires.script({"status": status})
    with pytest.raises(error) as caught:
        await say(claudes, model, False)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "error"


async def test_our_own_errors_are_in_anthropics_form_as_well(door: Door) -> None:
    async with claude(door.base, "oc_proxy_wrong") as wrong, claude(door.base, door.token) as right:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await say(wrong, "small", False)
        with pytest.raises(anthropic.NotFoundError):
            await say(right, "gpt-9", False)
    assert refused.value.type == "authentication_error"


@pytest.mark.parametrize(
    ("endpoint", "changed"),
    [
        ("responses", {"previous_response_id": "resp_1"}),
        ("responses", {"conversation": "conv_1"}),
        ("responses", {"prompt": {"id": "pmpt_1"}}),
        ("responses", {"background": True}),
        ("responses", {"tools": [{"type": "web_search"}]}),
        ("responses", {"tools": [{"type": "mcp", "server_url": "http://127.0.0.1:9"}]}),
        ("responses", {"tools": 7}),
        ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]}),
        ("responses", {"input": 7}),
        ("responses", {"max_output_tokens": -1}),
        ("embeddings", {"input": None}),
        ("messages", {"mcp_servers": [{"url": "http://127.0.0.1:9"}]}),
        ("messages", {"container": "container_1"}),
        ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "image", "source": {"file_id": "f"}}]}]}),
        ("messages", {"max_tokens": "7"}),
        ("messages", {"system": "x", "api_base": "http://127.0.0.1:9"}),
    ],
)
async def test_what_the_bound_or_the_customer_could_not_hold_is_400(
    door: Door, endpoint: str, changed: dict[str, Any]
) -> None:
    answer = await door.http.post(f"/v1/{endpoint}", json=BODIES[endpoint] | changed)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert door.provider.bodies == []


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"max_tokens": 99_999}, {"max_tokens": 16_384}),
        (
            {"max_tokens": 9, "thinking": {"type": "enabled", "budget_tokens": 2_000}},
            {"thinking": {"type": "disabled"}},
        ),
        (
            {"max_tokens": 5_000, "thinking": {"type": "enabled", "budget_tokens": 8_000}},
            {"thinking": {"type": "enabled", "budget_tokens": 4_999}},
        ),
    ],
)
async def test_a_message_goes_up_within_the_models_limit(
    door: Door, given: dict[str, Any], sent: dict[str, Any]
) -> None:
    await door.http.post("/v1/messages", json=BODIES["messages"] | given)
    (body,) = door.provider.parsed()
    assert {name: body[name] for name in sent} == sent


@pytest.mark.parametrize("endpoint", ["embeddings", "messages"])
async def test_a_body_reaches_the_provider_byte_for_byte(door: Door, endpoint: str) -> None:
    contents = {
        "embeddings": b'{"input":  ["a", "b"], "model":"small", "new": 1e1}',
        "messages": b'{"max_tokens":  7, "model":"small", "messages": [], "new": 1e1}',
    }
    await door.http.post(f"/v1/{endpoint}", content=contents[endpoint])
    assert (door.provider.bodies, door.provider.paths) == ([contents[endpoint]], [f"/v1/{endpoint}"])


async def test_a_used_up_plan_is_told_as_a_message_in_each_form(door: Door, database: Database) -> None:
    await spend(database, door, PRO)
    async with claude(door.base, door.token) as claudes:
        asked: list[Callable[[bool], Awaitable[str]]] = [
            lambda stream: respond(door.openai, stream, "small"),
            lambda stream: say(claudes, "small", stream),
        ]
        for ask in asked:
            for stream in (False, True):
                assert "tokens do seu plano" in await ask(stream)
    assert door.provider.bodies == []


async def test_for_embeddings_a_used_up_plan_is_an_error(door: Door, database: Database) -> None:
    await spend(database, door, PRO)
    answer = await door.http.post("/v1/embeddings", json=BODIES["embeddings"])
    assert (answer.status_code, answer.headers[HEADER], "retry-after" in answer.headers) == (429, "tokens", True)


STARTED = b'event: ping\ndata: {"type": "ping"}\n\n'


async def test_a_stalled_message_ends_with_anthropics_error(door: Door, dsn: str) -> None:
    door.provider.answer = streams(STARTED, then=door.provider.hangs)
    with proxy(dsn, door.queue_url, door.provider.base, upstream_idle=0.5) as base:
        async with claude(base, door.token) as claudes:
            with pytest.raises(anthropic.APIStatusError, match="upstream silent"):
                await say(claudes, "small", True)
