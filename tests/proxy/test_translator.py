"""The same conversation through every wire: what the client gets is equal, streamed and not."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import httpx
import openai
import pytest

from proxy import translator
from proxy.leaving import Connection
from tests.proxy.wires import CALLS, KEY, MESSAGES, TOKEN, WIRES, Wires, ask, client, translating, wires
from tests.sandbox.stripe.serving import serving

__all__ = ["client", "wires"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES)
async def test_text_parallel_calls_and_usage_are_equal(
    wires: Wires, client: openai.AsyncOpenAI, wire: str, stream: bool
) -> None:
    odd = {"chunk_chars": 1, "ascii_arguments": True, "segment_bytes": 3, "cached_tokens": 5}
    wires.script({"text": "Olá, já vejo ✨", "tool_calls": CALLS, **odd})
    said = await ask(client, wire, stream)
    named = [(one["id"], one["name"], one["arguments"]) for one in CALLS]
    assert (said.text, said.calls, said.finish) == ("Olá, já vejo ✨", named, "tool_calls")
    told = wires.requests()[0]["usage"]
    assert (said.output, said.cached) == (told["completion_tokens"], 5)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES)
async def test_what_the_system_and_the_developer_said_arrives_in_order(
    wires: Wires, client: openai.AsyncOpenAI, wire: str, stream: bool
) -> None:
    wires.script({"text": "Certo."})
    assert (await ask(client, wire, stream)).text == "Certo."
    sent = json.dumps(wires.requests()[0]["body"])
    assert 0 < sent.index("Rule one.") < sent.index("Rule two.")
    assert "Weather and time?" in sent


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_tools_result_goes_back_to_its_call(
    wires: Wires, client: openai.AsyncOpenAI, wire: str, stream: bool
) -> None:
    wires.script({"tool_calls": CALLS, "then": "It is {{results}}"})
    first = await ask(client, wire, stream)
    called = [{"id": key, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
              for key, name, given in first.calls]  # fmt: skip
    results = [{"role": "tool", "tool_call_id": key, "content": f"R-{name}"} for key, name, _ in first.calls]
    turn: list[Any] = [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": called}, *results]
    said = await ask(client, wire, stream, messages=turn, reasoning_effort="low")
    assert (said.finish, said.calls) == ("stop", [])
    assert "R-weather" in (said.text or "")
    assert "R-clock" in (said.text or "")


@pytest.mark.parametrize("wire", WIRES)
async def test_thinking_is_told_apart_and_counted(wires: Wires, client: openai.AsyncOpenAI, wire: str) -> None:
    wires.script(*[{"reasoning": "Let me think about it.", "text": "Done."}] * 2)
    whole, streamed = await ask(client, wire, False), await ask(client, wire, True)
    assert (whole.text, whole.reasoning > 0) == ("Done.", True)
    assert streamed == whole


@pytest.mark.parametrize("wire", WIRES)
async def test_the_usage_chunk_comes_only_when_asked_for(wires: Wires, client: openai.AsyncOpenAI, wire: str) -> None:
    wires.script(*["Um, dois"] * 2)
    for asked in (False, True):
        body = {"model": wire, "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": asked}}
        headers = {"authorization": f"Bearer {client.api_key}"}
        async with httpx.AsyncClient() as http:
            told = (await http.post(f"{client.base_url}chat/completions", json=body, headers=headers)).text
        events = [line[6:] for line in told.splitlines() if line]
        assert events[-1] == "[DONE]"
        assert [bool(json.loads(event).get("usage")) for event in events[:-1]].count(True) == asked


@pytest.mark.parametrize("wire", WIRES)
async def test_a_limit_of_tokens_ends_an_answer_with_length(
    wires: Wires, client: openai.AsyncOpenAI, wire: str
) -> None:
    wires.script(*["a word and another and one more"] * 2)
    for stream in (False, True):
        said = await ask(client, wire, stream, max_completion_tokens=2, reasoning_effort="high")
        assert (said.finish, said.output) == ("length", 2)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("status", "seen"), [(401, 502), (403, 502), (400, 400), (429, 429), (500, 500), (503, 503)])
async def test_a_providers_error_is_told_in_openais_form(
    wires: Wires, client: openai.AsyncOpenAI, wire: str, status: int, seen: int
) -> None:
    wires.script({"status": status, "text": f"No, {KEY} is bad", "headers": {"retry-after": "7"}})
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model=wire, messages=MESSAGES)
    assert caught.value.status_code == seen
    assert KEY not in caught.value.response.text
    assert caught.value.body is not None
    if seen == 429:
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("wire", ["anthropic", "gemini"])
@pytest.mark.parametrize("how", [{"cut_after": 4}, {"cut_after": 4, "cut_by": "error"}, {"stall_after": 4}])
async def test_a_stream_that_breaks_or_stalls_says_so_and_does_not_end(
    wires: Wires, client: openai.AsyncOpenAI, wire: str, how: dict[str, Any]
) -> None:
    wires.script({"text": "one two three four five six", **how})
    stream = await client.chat.completions.create(model=wire, messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass


async def test_a_failing_translation_is_answered_by_the_next_provider(wires: Wires, client: openai.AsyncOpenAI) -> None:
    wires.script({"status": 529}, "From the other one")
    made = await client.chat.completions.create(model="second", messages=MESSAGES)
    assert made.choices[0].message.content == "From the other one"
    assert [one["api"] for one in wires.requests()] == ["messages", "chat"]


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/x.png", "gs://bucket/x", "https://e.example/x.png", "file:///x"]
)
async def test_no_address_that_a_customer_names_is_fetched(wires: Wires, client: openai.AsyncOpenAI, url: str) -> None:
    wires.script("no")
    content: list[Any] = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="gemini", messages=[{"role": "user", "content": content}])
    assert caught.value.code == "image_address_not_allowed"
    assert wires.requests() == []


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer wrong", TOKEN, "Bearer é"])
async def test_the_translator_lets_only_the_proxy_in(wires: Wires, shown: str) -> None:
    async with httpx.AsyncClient(headers=[(b"authorization", shown.encode())]) as http:
        answer = await http.post(f"{wires.translator}/v1/chat/completions", json={"model": "gemini"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "changed", [{"n": 2}, {"messages": []}, {"messages": ["x"]}, {"messages": [{"role": "user", "content": ["x"]}]},
                {"tools": 7}, {"tools": [{"type": "function"}]}, {"model": "openai"}],
)  # fmt: skip
async def test_what_cannot_be_translated_is_the_requests_fault(wires: Wires, changed: dict[str, Any]) -> None:
    wires.script("x")
    body = {"model": "anthropic", "messages": MESSAGES, **changed}
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as http:
        answer = await http.post(f"{wires.translator}/v1/chat/completions", json=body)
    assert answer.status_code in (400, 404), answer.text
    assert "error" in answer.json()


async def test_a_call_that_is_one_too_many_is_503_and_counted(wires: Wires) -> None:
    settings = translating(wires.model, translator_most=1)
    wires.script({"text": "one two three four five", "stall_after": 4}, "x")
    body = {"model": "anthropic", "messages": MESSAGES}
    with serving(translator.create(settings), Connection) as base:
        async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {TOKEN}"}) as http:
            async with http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}):
                answer = await http.post("/v1/chat/completions", json=body)
            page = (await http.get("/metrics")).text
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "translator_busy")
    assert "translator_turned_away_total 1.0" in page


def test_the_hot_process_loads_neither_litellm_nor_sqlalchemy() -> None:
    told = "import sys, proxy.app; print([one for one in ('litellm', 'sqlalchemy') if one in sys.modules])"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout == "[]\n"
