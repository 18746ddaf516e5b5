"""What holds for Anthropic's messages alike, at the vendor and at the stand-in."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from tests.sandbox.llm.serving import Model
from tests.sandbox.llm.vendors import Vendor, anthropics

HELLO: Any = [{"role": "user", "content": "Say hello."}]
ASK: Any = [{"role": "user", "content": "What is the weather in São Paulo?"}]
TOOL: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def vendor(model: Model) -> Vendor[anthropic.Anthropic]:
    return anthropics(model)


def test_a_message_has_text_an_ending_and_usage(vendor: Vendor[anthropic.Anthropic]) -> None:
    made = vendor.api.messages.create(model=vendor.model, max_tokens=64, system="Answer in a word.", messages=HELLO)
    assert (made.type, made.role, made.stop_reason) == ("message", "assistant", "end_turn")
    assert made.id.startswith("msg_")
    assert made.content[0].type == "text"
    assert made.usage.input_tokens > 0
    assert made.usage.output_tokens > 0


def test_a_stream_has_its_events_in_their_order(vendor: Vendor[anthropic.Anthropic]) -> None:
    stream = vendor.api.messages.create(model=vendor.model, max_tokens=64, messages=HELLO, stream=True)
    kinds = [one.type for one in stream]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) <= {"content_block_delta", "ping"}


def test_a_streams_last_usage_is_what_the_whole_says(vendor: Vendor[anthropic.Anthropic]) -> None:
    with vendor.api.messages.stream(model=vendor.model, max_tokens=64, messages=HELLO) as stream:
        made = stream.get_final_message()
    counted = vendor.api.messages.count_tokens(model=vendor.model, messages=HELLO)
    assert made.usage.input_tokens == counted.input_tokens
    assert made.usage.output_tokens > 1


def test_a_forced_tool_is_called_and_its_result_is_answered(vendor: Vendor[anthropic.Anthropic]) -> None:
    with vendor.api.messages.stream(
        model=vendor.model, max_tokens=256, messages=ASK, tools=[TOOL], tool_choice={"type": "any"}
    ) as stream:
        made = stream.get_final_message()
    call: Any = made.content[-1]
    assert (made.stop_reason, call.name) == ("tool_use", "weather")
    assert call.input["city"]
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "25 degrees"}
    said: Any = {"role": "assistant", "content": [call.model_dump(include={"type", "id", "name", "input"})]}
    answer = vendor.api.messages.create(
        model=vendor.model, max_tokens=256, tools=[TOOL], messages=[*ASK, said, {"role": "user", "content": [result]}]
    )
    assert "25" in str(getattr(answer.content[0], "text", ""))


def test_a_limit_ends_a_message_with_max_tokens(vendor: Vendor[anthropic.Anthropic]) -> None:
    asked: Any = [{"role": "user", "content": "Count to a hundred."}]
    assert vendor.api.messages.create(model=vendor.model, max_tokens=4, messages=asked).stop_reason == "max_tokens"


def test_a_stop_sequence_ends_a_message_and_is_named(vendor: Vendor[anthropic.Anthropic]) -> None:
    asked: Any = [{"role": "user", "content": "Repeat exactly: one two three four"}]
    made = vendor.api.messages.create(model=vendor.model, max_tokens=64, messages=asked, stop_sequences=["three"])
    assert (made.stop_reason, made.stop_sequence) == ("stop_sequence", "three")


def test_a_wrong_key_is_refused(vendor: Vendor[anthropic.Anthropic]) -> None:
    with pytest.raises(anthropic.AuthenticationError) as caught:
        vendor.connect("sk-ant-wrong").messages.create(model=vendor.model, max_tokens=64, messages=HELLO)
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "authentication_error")
    assert caught.value.request_id


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": HELLO},
        {"model": "m", "max_tokens": 64},
        {"model": "m", "max_tokens": 64, "messages": []},
        {"model": "m", "max_tokens": 64, "messages": [{"role": "system", "content": "s"}]},
        {
            "model": "m",
            "max_tokens": 64,
            "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "r"}]}],
        },
    ],
)
def test_a_malformed_message_is_refused(vendor: Vendor[anthropic.Anthropic], body: dict[str, Any]) -> None:
    given = body | {"model": vendor.model}
    with pytest.raises(anthropic.BadRequestError) as caught:
        vendor.api.post("/v1/messages", body=given, cast_to=object)
    refused: Any = caught.value.body
    assert refused["error"]["type"] == "invalid_request_error"
