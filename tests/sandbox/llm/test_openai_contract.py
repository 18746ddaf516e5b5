"""What holds for OpenAI's chat, responses and embeddings alike, at the vendor and at the stand-in."""

from __future__ import annotations

import json
import math
from typing import Any

import openai
import pytest

from tests.sandbox.llm.serving import Model
from tests.sandbox.llm.vendors import Vendor, openais

HELLO: Any = [{"role": "system", "content": "Answer in a word."}, {"role": "user", "content": "Say hello."}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
FLAT_TOOL: Any = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}
ASK: Any = [{"role": "user", "content": "What is the weather in São Paulo?"}]


@pytest.fixture
def vendor(model: Model) -> Vendor[openai.OpenAI]:
    return openais(model)


def dot(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))


def test_chat_answers_with_text_an_ending_and_sums_that_add_up(vendor: Vendor[openai.OpenAI]) -> None:
    made = vendor.api.chat.completions.create(model=vendor.model, messages=HELLO)
    assert made.id.startswith("chatcmpl-")
    assert made.choices[0].message.content
    assert made.choices[0].finish_reason == "stop"
    assert made.usage
    assert made.usage.prompt_tokens + made.usage.completion_tokens == made.usage.total_tokens


@pytest.mark.parametrize("asked", [True, False])
def test_a_chat_stream_ends_with_its_ending_and_tells_usage_if_asked(
    vendor: Vendor[openai.OpenAI], asked: bool
) -> None:
    options: Any = {"include_usage": asked}
    stream = list(
        vendor.api.chat.completions.create(model=vendor.model, messages=HELLO, stream=True, stream_options=options)
    )
    assert stream[0].choices[0].delta.role == "assistant"
    endings = [one.choices[0].finish_reason for one in stream if one.choices and one.choices[0].finish_reason]
    assert endings == ["stop"]
    assert [bool(one.usage) for one in stream if one.usage or not one.choices] == ([True] if asked else [])


def test_a_forced_tool_is_called_and_its_result_is_answered(vendor: Vendor[openai.OpenAI]) -> None:
    with vendor.api.chat.completions.stream(
        model=vendor.model, messages=ASK, tools=[TOOL], tool_choice="required", parallel_tool_calls=False
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls
    assert json.loads(message.tool_calls[0].function.arguments)["city"]
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "25 degrees"}
    history = [*ASK, message.model_dump(exclude_none=True, exclude={"parsed"}), result]
    made = vendor.api.chat.completions.create(model=vendor.model, messages=history, tools=[TOOL])
    assert "25" in (made.choices[0].message.content or "")


def test_a_limit_ends_chat_with_length(vendor: Vendor[openai.OpenAI]) -> None:
    made = vendor.api.chat.completions.create(
        model=vendor.model, messages=[{"role": "user", "content": "Count to a hundred."}], max_completion_tokens=4
    )
    assert made.choices[0].finish_reason == "length"


def test_a_wrong_key_is_refused(vendor: Vendor[openai.OpenAI]) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        vendor.connect("sk-wrong-wrong-wrong").chat.completions.create(model=vendor.model, messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    "body",
    [
        {"messages": HELLO},
        {"model": "gpt-4.1-mini"},
        {"model": "gpt-4.1-mini", "messages": []},
        {"model": "gpt-4.1-mini", "messages": [*HELLO, {"role": "tool", "tool_call_id": "call_x", "content": "r"}]},
    ],
)
def test_a_malformed_chat_is_refused(vendor: Vendor[openai.OpenAI], body: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        vendor.api.post("/chat/completions", body=body, cast_to=object)
    assert caught.value.type == "invalid_request_error"


def test_responses_answer_with_text_a_status_and_sums_that_add_up(vendor: Vendor[openai.OpenAI]) -> None:
    made = vendor.api.responses.create(model=vendor.model, instructions="Answer in a word.", input="Say hello.")
    assert made.output_text
    assert made.status == "completed"
    assert made.usage
    assert made.usage.input_tokens + made.usage.output_tokens == made.usage.total_tokens


def test_a_response_stream_has_its_events_in_their_order(vendor: Vendor[openai.OpenAI]) -> None:
    stream = list(vendor.api.responses.create(model=vendor.model, input="Say hello.", stream=True))
    kinds = [one.type for one in stream]
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"
    ]  # fmt: skip
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"
    ]  # fmt: skip
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert [one.sequence_number for one in stream] == list(range(len(stream)))


def test_a_response_calls_a_forced_tool_and_answers_its_result(vendor: Vendor[openai.OpenAI]) -> None:
    with vendor.api.responses.stream(
        model=vendor.model, input=ASK, tools=[FLAT_TOOL], tool_choice="required", parallel_tool_calls=False
    ) as stream:
        call: Any = stream.get_final_response().output[-1]
    assert json.loads(call.arguments)["city"]
    said: Any = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "25 degrees"}
    made = vendor.api.responses.create(model=vendor.model, input=[*ASK, said, result], tools=[FLAT_TOOL])
    assert "25" in made.output_text


def test_a_response_to_an_unknown_call_is_refused(vendor: Vendor[openai.OpenAI]) -> None:
    orphan: Any = {"type": "function_call_output", "call_id": "call_x", "output": "r"}
    with pytest.raises(openai.BadRequestError, match="call_x"):
        vendor.api.responses.create(model=vendor.model, input=[*ASK, orphan])


@pytest.mark.parametrize("size", [None, 64])
def test_embeddings_have_length_one_and_alike_texts_lie_near(vendor: Vendor[openai.OpenAI], size: int | None) -> None:
    texts = ["the pharmacy opens at eight", "the pharmacy opens at nine", "xylophone quartz"]
    more: Any = {} if size is None else {"dimensions": size}
    made = vendor.api.embeddings.create(model="text-embedding-3-small", input=texts, **more)
    first, second, third = (one.embedding for one in made.data)
    assert len(first) == (size or 1536)
    assert math.isclose(math.hypot(*first), 1, abs_tol=1e-3)
    assert dot(first, second) > dot(first, third)
    assert made.usage.prompt_tokens == made.usage.total_tokens > 0
