"""The turns that OpenClaw sends in each form: its own words come last, after a tool's result too."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.llm.serving import KEY, Model

INTERNAL = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nRuntime: x\n<<<END_OPENCLAW_INTERNAL_CONTEXT>>>"
ARGUMENTS = '{"command": "id"}'
TEXT = [{"type": "text", "text": INTERNAL}]
CHAT = {
    "model": "claw-1",
    "messages": [
        {"role": "system", "content": "You are Ana."},
        {"role": "user", "content": "who are you?"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "calllab2", "type": "function", "function": {"name": "exec", "arguments": ARGUMENTS}}]},
        {"role": "tool", "content": "uid=10001", "tool_call_id": "calllab2"},
        {"role": "user", "content": TEXT},
    ],
}  # fmt: skip
RESPONSES = {
    "model": "claw-1",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "You are Ana."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "who are you?"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": INTERNAL}]},
        {"type": "function_call", "call_id": "call_lab2", "name": "exec", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "call_lab2", "output": "uid=10001"},
    ],
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "store": False,
}
MESSAGES = {
    "model": "claw-1",
    "max_tokens": 16_384,
    "thinking": {"type": "enabled", "budget_tokens": 2048},
    "system": [{"type": "text", "text": "You are Ana.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "an older question"},
        {"role": "assistant", "content": [{"type": "text", "text": "an older answer"}]},
        {"role": "user", "content": [{"type": "text", "text": "who are you?", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolulab5", "name": "exec", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolulab5", "content": "uid=10001", "is_error": False}]},
        {"role": "user", "content": TEXT},
    ],
}  # fmt: skip
TURNS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT, "/v1/responses": RESPONSES, "/v1/messages": MESSAGES,
}  # fmt: skip


@pytest.mark.parametrize("path", TURNS)
def test_a_rule_finds_the_humans_words_and_the_tools_result(model: Model, path: str) -> None:
    model.rule({"tool_calls": [{"name": "exec"}], "then": "I am {{result}}, asked {{human}}"}, match="who are you")
    headers = {"x-api-key": KEY, "authorization": f"Bearer {KEY}", "anthropic-version": "2023-06-01"}
    answer = model.http.post(path, json=TURNS[path], headers=headers)
    assert "I am uid=10001, asked who are you?" in answer.text
    assert model.requests()[0]["human"] == "who are you?"


@pytest.mark.parametrize("path", TURNS)
def test_the_instructions_can_be_recalled(model: Model, path: str) -> None:
    model.rule({"recall": r"You are (\w+)\.", "text": "They call me {{recalled}}."})
    headers = {"x-api-key": KEY, "authorization": f"Bearer {KEY}", "anthropic-version": "2023-06-01"}
    assert "They call me Ana." in model.http.post(path, json=TURNS[path], headers=headers).text
