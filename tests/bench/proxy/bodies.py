"""What is asked: a body of a few words and one of 84 kB, as an agent's tenth turn has it."""

from __future__ import annotations

import json
from typing import Any

BIG_BYTES = 84_000
TOOLS = 25
MARK = "bench:"
"""In the last message: how the mock is to answer. Whatever else a gateway rewrites, it leaves the words alone."""


def small(stream: str = "") -> bytes:
    """A body of one message; ``stream`` says how the answer is to be paced, nothing that it is to come whole."""
    return _body([], [], stream)


def big(stream: str = "") -> bytes:
    """The same question behind a history with tool calls and ``TOOLS`` tools, BIG_BYTES long."""
    tools = [_tool(number) for number in range(TOOLS)]
    history: list[dict[str, Any]] = [{"role": "system", "content": "You are the agent of a pharmacy. " * 200}]
    turn = 0
    while (missing := BIG_BYTES - len(_body(history, tools, stream))) > 2500:
        history += _turn(turn)
        turn += 1
    history[0]["content"] += "." * missing
    return _body(history, tools, stream)


def paced(*, chunks: int, every: float, first: float) -> str:
    """A stream of ``chunks`` chunks, the first after ``first`` seconds and one more each ``every`` seconds."""
    return f"{chunks},{every},{first}"


ONE = paced(chunks=1, every=0.0, first=0.0)
"""A stream that is over at once."""


def _body(history: list[dict[str, Any]], tools: list[dict[str, Any]], stream: str) -> bytes:
    asked: dict[str, Any] = {"model": "small", "messages": [*history, {"role": "user", "content": MARK + stream}]}
    if tools:
        asked |= {"tools": tools, "tool_choice": "auto"}
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(asked | {"max_completion_tokens": 4096}, separators=(",", ":")).encode()


def _turn(number: int) -> list[dict[str, Any]]:
    called = {"name": "tool_1", "arguments": json.dumps({"query": f"stock of item {number}", "limit": 20})}
    rows = ", ".join(f"item {number}.{row}: {row * 7} in stock, shelf {row % 9}" for row in range(40))
    return [
        {"role": "user", "content": f"Question {number}: what do we have of it, and where? " * 4},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": f"call_{number}", "type": "function", "function": called}]},
        {"role": "tool", "tool_call_id": f"call_{number}", "content": rows},
        {"role": "assistant", "content": f"We have it, on several shelves. Answer {number}. " * 6},
    ]  # fmt: skip


def _tool(number: int) -> dict[str, Any]:
    told = "What it is for, when to use it, and what it must not be used for. " * 8
    fields = {f"field_{field}": {"type": "string", "description": "What goes in here."} for field in range(6)}
    parameters = {"type": "object", "properties": fields, "required": ["field_0"]}
    return {"type": "function", "function": {"name": f"tool_{number}", "description": told, "parameters": parameters}}
