"""What only a script can bring about: the same answer in every vendor's form."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.sandbox.llm.serving import KEY, Model

SAY: Any = [{"role": "user", "content": "go"}]
CHAT: dict[str, Any] = {"model": "m", "messages": SAY}
RESPONSES: dict[str, Any] = {"model": "m", "input": SAY}
MESSAGES: dict[str, Any] = {"model": "m", "messages": SAY, "max_tokens": 999}
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "go"}]}]}
PATHS = {
    "chat": ("/v1/chat/completions", CHAT),
    "responses": ("/v1/responses", RESPONSES),
    "messages": ("/v1/messages", MESSAGES),
    "gemini": ("/v1beta/models/m:generateContent", GEMINI),
}
CITIES = [{"city": 'São "Paulo" 😀'}, {"city": "Rio"}]


def headers(key: str = KEY) -> dict[str, str]:
    return {
        "authorization": f"Bearer {key}",
        "anthropic-version": "2023-06-01",
        "x-goog-api-key": key,
        "x-api-key": key,
    }


def post(model: Model, api: str, **more: Any) -> httpx.Response:
    path, body = PATHS[api]
    return model.http.post(path, json=body | more, headers=headers())


def events(model: Model, api: str) -> list[dict[str, Any]]:
    """The JSON of every event of a stream."""
    path, body = PATHS[api]
    if api == "gemini":
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    else:
        body = body | {"stream": True}
    text = model.http.post(path, json=body, headers=headers()).text
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(one) for one in data if one != "[DONE]"]


def chat_arguments(found: list[dict[str, Any]]) -> list[str]:
    made: dict[int, str] = {}
    for delta in (one["choices"][0]["delta"] for one in found):
        for call in delta.get("tool_calls", ()):
            made[call["index"]] = made.get(call["index"], "") + call["function"]["arguments"]
    return list(made.values())


def response_arguments(found: list[dict[str, Any]]) -> list[str]:
    made: dict[int, str] = {}
    for one in found:
        if one["type"] == "response.function_call_arguments.delta":
            made[one["output_index"]] = made.get(one["output_index"], "") + one["delta"]
    return list(made.values())


def message_arguments(found: list[dict[str, Any]]) -> list[str]:
    made: dict[int, str] = {}
    for one in found:
        if one["type"] == "content_block_delta":
            made[one["index"]] = made.get(one["index"], "") + one["delta"]["partial_json"]
    return list(made.values())


def gemini_arguments(found: list[dict[str, Any]]) -> list[str]:
    parts = [part for one in found for part in one["candidates"][0]["content"]["parts"]]
    return [json.dumps(part["functionCall"]["args"]) for part in parts]


ARGUMENTS: dict[str, Callable[[list[dict[str, Any]]], list[str]]] = {
    "chat": chat_arguments, "responses": response_arguments, "messages": message_arguments, "gemini": gemini_arguments,
}  # fmt: skip


@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("ascii_arguments", [True, False])
def test_parallel_calls_come_whole_out_of_fragments_of_one_character(
    model: Model, api: str, ascii_arguments: bool
) -> None:
    calls = [{"name": "weather", "arguments": one} for one in CITIES]
    model.rule({"tool_calls": calls, "chunk_chars": 1, "ascii_arguments": ascii_arguments, "then": "done"})
    found = ARGUMENTS[api](events(model, api))
    assert [json.loads(one) for one in found] == CITIES


def test_a_fragment_can_end_inside_an_escape(model: Model) -> None:
    model.rule({"tool_calls": [{"name": "w", "arguments": CITIES[0]}], "chunk_chars": 1, "then": "done"})
    deltas = [one["choices"][0]["delta"] for one in events(model, "chat")]
    fragments = [one["tool_calls"][0]["function"]["arguments"] for one in deltas if one.get("tool_calls")]
    assert "\\" in fragments
    assert all(len(one) <= 1 for one in fragments)


@pytest.mark.parametrize(
    ("api", "found"),
    [
        ("chat", lambda one: one["choices"][0]["finish_reason"]),
        ("responses", lambda one: one["status"]),
        ("messages", lambda one: one["stop_reason"]),
        ("gemini", lambda one: one["candidates"][0]["finishReason"]),
    ],
)
def test_each_vendor_names_endings_its_own_way(model: Model, api: str, found: Callable[[Any], str]) -> None:
    expected = {
        "chat": ["stop", "tool_calls", "stop"], "responses": ["completed"] * 3,
        "messages": ["end_turn", "tool_use", "refusal"], "gemini": ["STOP", "STOP", "SAFETY"],
    }[api]  # fmt: skip
    model.script({"text": "x"}, {"tool_calls": [{"name": "w"}]}, {"text": "No.", "refusal": True})
    assert [found(post(model, api).json()) for _ in range(3)] == expected


def test_reasoning_and_cache_are_told_in_every_vendors_usage(model: Model) -> None:
    model.rule({"text": "12345678", "reasoning": "1234567890123456", "cached_tokens": 3, "cache_written_tokens": 2})
    used = {api: post(model, api).json() for api in PATHS}
    chat, response = used["chat"]["usage"], used["responses"]["usage"]
    assert (chat["completion_tokens"], chat["completion_tokens_details"]["reasoning_tokens"]) == (6, 4)
    assert (response["output_tokens"], response["input_tokens_details"]["cached_tokens"]) == (6, 3)
    message, google = used["messages"]["usage"], used["gemini"]["usageMetadata"]
    assert (message["cache_read_input_tokens"], message["cache_creation_input_tokens"]) == (3, 2)
    assert (google["thoughtsTokenCount"], google["candidatesTokenCount"], google["cachedContentTokenCount"]) == (
        4,
        2,
        3,
    )


def test_anthropics_input_leaves_out_what_the_cache_gave(model: Model) -> None:
    model.script({"text": "x"}, {"text": "x", "cached_tokens": 3, "cache_written_tokens": 2})
    plain, cached = (post(model, "messages").json()["usage"]["input_tokens"] for _ in range(2))
    assert plain - cached == 5


@pytest.mark.parametrize("api", PATHS)
def test_a_stream_says_what_the_whole_says(model: Model, api: str) -> None:
    model.rule({"text": "one two three", "reasoning": "let me think"})
    told = post(model, api).text, json.dumps(events(model, api))
    whole, stream = model.requests()
    assert whole["usage"] == stream["usage"]
    assert [word in text for text in told for word in ("think", "three")] == [True] * 4


@pytest.mark.parametrize("api", PATHS)
def test_every_status_has_its_vendors_error_form(model: Model, api: str) -> None:
    fields = {"messages": {"type"}, "gemini": {"code", "status"}}.get(api, {"type", "param", "code"})
    for status in (400, 401, 402, 403, 404, 429, 500, 503):
        model.rule({"status": status, "text": "No luck.", "headers": {"retry-after": "7"}}, id="only")
        answer = post(model, api)
        error = answer.json()["error"]
        assert (answer.status_code, answer.headers["retry-after"], error["message"]) == (status, "7", "No luck.")
        assert set(error) >= fields


@pytest.mark.parametrize(("api", "status"), [("chat", 401), ("responses", 401), ("messages", 401), ("gemini", 400)])
def test_a_wrong_key_is_refused_and_never_charged(model: Model, api: str, status: int) -> None:
    path, body = PATHS[api]
    answer = model.http.post(path, json=body, headers=headers("other"))
    assert answer.status_code == status
    assert model.control.get("usage").json()["requests"] == 0


@pytest.mark.parametrize("api", PATHS)
def test_no_body_brings_the_model_down(model: Model, api: str) -> None:
    bodies = [b"{", b"[1]", b'"x"', b'{"messages": 3}', b'{"model": "\\ud83d"}', b"[" * 99_999, b"\xff", b""]
    answers = [model.http.post(PATHS[api][0], content=raw, headers=headers()) for raw in bodies]
    assert [answer.status_code for answer in answers] == [400] * len(bodies)
    assert all(answer.json()["error"]["message"] for answer in answers)


def test_responses_take_results_anywhere_after_their_calls(model: Model) -> None:
    calls = [{"type": "function_call", "call_id": key, "name": "w", "arguments": "{}"} for key in ("a", "b")]
    results = [{"type": "function_call_output", "call_id": key, "output": key} for key in ("b", "a")]
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    spoken = {"type": "message", "role": "assistant", "content": "one moment"}
    answer = post(model, "responses", input=[*SAY, calls[0], thought, calls[1], spoken, *results])
    assert answer.status_code == 200
    assert "The tool answered: a" in answer.text


def test_several_choices_and_log_probabilities_come_if_asked(model: Model) -> None:
    made = post(model, "chat", n=2, logprobs=True).json()
    assert [one["index"] for one in made["choices"]] == [0, 1]
    tokens = [one["token"] for one in made["choices"][0]["logprobs"]["content"]]
    assert "".join(tokens) == made["choices"][0]["message"]["content"]
