"""What holds for Google's Gemini alike, at the vendor and at the stand-in."""

from __future__ import annotations

from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.sandbox.llm.serving import Model
from tests.sandbox.llm.vendors import Vendor, googles

WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            parameters=types.Schema(
                type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}, required=["city"]
            ),
        )
    ]
)
FORCED = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY))
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)


@pytest.fixture
def vendor(model: Model) -> Vendor[genai.Client]:
    return googles(model)


def test_an_answer_has_text_an_ending_and_sums_that_add_up(vendor: Vendor[genai.Client]) -> None:
    config = types.GenerateContentConfig(system_instruction="Answer in a word.")
    made = vendor.api.models.generate_content(model=vendor.model, contents="Say hello.", config=config)
    assert made.text
    assert made.candidates
    assert made.candidates[0].finish_reason == types.FinishReason.STOP
    used = made.usage_metadata
    assert used
    said = (used.candidates_token_count or 0) + (used.thoughts_token_count or 0)
    assert (used.prompt_token_count or 0) + said == used.total_token_count


def test_a_stream_ends_with_its_ending_and_its_usage(vendor: Vendor[genai.Client]) -> None:
    stream = list(vendor.api.models.generate_content_stream(model=vendor.model, contents="Say hello to us all."))
    assert "".join(one.text or "" for one in stream)
    last = stream[-1]
    assert last.candidates
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    assert last.usage_metadata
    assert last.usage_metadata.candidates_token_count


def test_a_forced_tool_is_called_and_its_result_is_answered(vendor: Vendor[genai.Client]) -> None:
    asked = types.Content(role="user", parts=[types.Part(text="What is the weather in São Paulo?")])
    config = types.GenerateContentConfig(tools=[WEATHER], tool_config=FORCED, automatic_function_calling=BY_HAND)
    made = vendor.api.models.generate_content(model=vendor.model, contents=[asked], config=config)
    assert made.function_calls
    call = made.function_calls[0]
    assert (call.args or {})["city"]
    assert made.candidates
    assert made.candidates[0].content
    result = types.FunctionResponse(id=call.id, name=call.name, response={"output": "25 degrees"})
    history: Any = [asked, made.candidates[0].content, types.Content(
        role="user", parts=[types.Part(function_response=result)])]  # fmt: skip
    free = types.GenerateContentConfig(tools=[WEATHER], automatic_function_calling=BY_HAND)
    assert "25" in (vendor.api.models.generate_content(model=vendor.model, contents=history, config=free).text or "")


def test_a_limit_ends_an_answer_with_max_tokens(vendor: Vendor[genai.Client]) -> None:
    config = types.GenerateContentConfig(max_output_tokens=4)
    made = vendor.api.models.generate_content(model=vendor.model, contents="Count to a hundred.", config=config)
    assert made.candidates
    assert made.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


def test_tokens_can_be_counted_before(vendor: Vendor[genai.Client]) -> None:
    made = vendor.api.models.generate_content(model=vendor.model, contents="Say hello.")
    counted = vendor.api.models.count_tokens(model=vendor.model, contents="Say hello.")
    assert made.usage_metadata
    assert counted.total_tokens == made.usage_metadata.prompt_token_count


def test_a_wrong_key_is_refused_as_google_does_it(vendor: Vendor[genai.Client]) -> None:
    stranger = vendor.connect("wrong")
    with pytest.raises(errors.ClientError) as caught:
        stranger.models.generate_content(model=vendor.model, contents="Say hello.")
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert "API_KEY_INVALID" in str(caught.value.details)


def test_a_limit_below_one_is_refused(vendor: Vendor[genai.Client]) -> None:
    config = types.GenerateContentConfig(max_output_tokens=-1)
    with pytest.raises(errors.ClientError) as caught:
        vendor.api.models.generate_content(model=vendor.model, contents="Say hello.", config=config)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
