"""What OpenAI's own client sees of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam as Message

from tests.sandbox.llm.serving import Model, model_in

HELLO: list[Message] = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "olá, tudo bem?"}]
TOOL: Any = {"type": "function", "function": {"name": "exec", "parameters": {"type": "object", "properties": {}}}}


def test_the_default_reply_repeats_the_humans_words(model: Model) -> None:
    made = model.api.chat.completions.create(model="small", messages=HELLO)
    assert made.choices[0].message.content == "You said: olá, tudo bem?"
    assert (made.model, made.choices[0].finish_reason) == ("small", "stop")


def test_usage_is_a_token_for_every_four_bytes_begun(model: Model) -> None:
    made = model.api.chat.completions.create(model="small", messages=[{"role": "user", "content": "é"}])
    prompt = '[[{"content":"é","role":"user"}],[]]'
    assert made.usage is not None
    assert made.usage.prompt_tokens == -(-len(prompt.encode()) // 4)
    assert made.usage.completion_tokens == -(-len("You said: é".encode()) // 4)
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens


def test_a_stream_comes_in_several_chunks_with_the_same_text(model: Model) -> None:
    stream = list(model.api.chat.completions.create(model="small", messages=HELLO, stream=True))
    pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]
    assert len(pieces) > 2
    assert "".join(pieces) == "You said: olá, tudo bem?"
    assert stream[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_carries_usage_only_if_asked(model: Model, asked: bool) -> None:
    stream = model.api.chat.completions.create(
        model="small", messages=HELLO, stream=True, stream_options={"include_usage": asked}
    )
    usages = [chunk.usage for chunk in stream if chunk.usage]
    whole = model.api.chat.completions.create(model="small", messages=HELLO)
    assert usages == ([whole.usage] if asked else [])


def test_a_scripted_tool_call_survives_the_stream(model: Model) -> None:
    model.script({"tool_calls": [{"name": "exec", "arguments": {"command": "id -un"}}]})
    with model.api.chat.completions.stream(model="small", messages=HELLO, tools=[TOOL]) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    assert choice.message.tool_calls[0].function.name == "exec"
    assert choice.message.tool_calls[0].function.arguments == '{"command": "id -un"}'


def test_the_answer_after_a_tool_call_tells_its_result(model: Model) -> None:
    call: Any = {"id": "call1", "type": "function", "function": {"name": "exec", "arguments": "{}"}}
    turn: list[Message] = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call1", "content": "ana"},
    ]
    made = model.api.chat.completions.create(model="small", messages=turn)
    assert made.choices[0].message.content == "You said: olá, tudo bem?\nThe tool answered: ana"


def test_a_limit_of_tokens_cuts_the_answer(model: Model) -> None:
    made = model.api.chat.completions.create(model="small", messages=HELLO, max_completion_tokens=2)
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("You said", "length")
    assert made.usage is not None
    assert made.usage.completion_tokens == 2


def test_another_key_is_refused(model: Model) -> None:
    stranger = openai.OpenAI(api_key="sk-other", base_url=f"{model.base}/v1", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        stranger.models.list()
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    "body",
    [{}, {"model": "small"}, {"model": "small", "messages": []}, {"model": "small", "messages": [{"content": 3}]}],
)
def test_a_malformed_request_is_refused(model: Model, body: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        model.api.post("/chat/completions", body=body, cast_to=object)


def test_the_models_are_listed(model: Model) -> None:
    assert {one.id for one in model.api.models.list()} == {"small", "large", "default"}


def test_script_and_record_survive_a_restart(tmp_path: Path) -> None:
    with model_in(tmp_path) as before:
        before.script({"text": "one"}, {"text": "two"})
        before.say("hi")
    with model_in(tmp_path) as after:
        assert after.say("again") == "two"
        assert [one["n"] for one in after.requests()] == [1, 2]
        assert after.control.get("usage").json()["requests"] == 2
