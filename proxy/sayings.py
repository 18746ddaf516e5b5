"""A sentence of ours as a model would say it, in each endpoint's form, streamed or whole; it used nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

Body = dict[str, Any]
_CHAT_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_RESPONSES_USAGE = {
    "input_tokens": 0, "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 0,
}  # fmt: skip
_MESSAGES_USAGE = {"input_tokens": 0, "output_tokens": 0}


@dataclass(frozen=True)
class Saying:
    """What is said, as whose answer, and whether the stream's usage was asked for."""

    key: str
    model: str
    created: int
    text: str
    with_usage: bool


def chat(said: Saying) -> bytes:
    """As a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": said.text}, "finish_reason": "stop"}
    return orjson.dumps({**_chat_head(said, "chat.completion"), "choices": [choice], "usage": _CHAT_USAGE})


def chat_stream(said: Saying) -> bytes:
    """As a chat completion's chunks."""
    first = {"index": 0, "delta": {"role": "assistant", "content": said.text}, "finish_reason": None}
    events: list[Body] = [{"choices": [first]}, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    if said.with_usage:
        events.append({"choices": [], "usage": _CHAT_USAGE})
    head = _chat_head(said, "chat.completion.chunk")
    return b"".join(b"data: " + one + b"\n\n" for one in [*(orjson.dumps(head | event) for event in events), b"[DONE]"])


def responses(said: Saying) -> bytes:
    """As a response."""
    return orjson.dumps(_response(said, "completed"))


def responses_stream(said: Saying) -> bytes:
    """As a response's events."""
    steps = enumerate(_response_steps(said))
    return b"".join(_named(kind, {"sequence_number": number, **facts}) for number, (kind, facts) in steps)


def messages(said: Saying) -> bytes:
    """As Anthropic's message."""
    content = [{"type": "text", "text": said.text}]
    return orjson.dumps({**_message(said), "content": content, "stop_reason": "end_turn"})


def messages_stream(said: Saying) -> bytes:
    """As Anthropic's events."""
    steps: list[tuple[str, Body]] = [
        ("message_start", {"message": _message(said)}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": said.text}}),
        ("content_block_stop", {"index": 0}),
        (
            "message_delta",
            {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 0}},
        ),
        ("message_stop", {}),
    ]
    return b"".join(_named(kind, facts) for kind, facts in steps)


def _chat_head(said: Saying, kind: str) -> Body:
    return {"id": f"chatcmpl-{said.key}", "object": kind, "created": said.created, "model": said.model}


def _response(said: Saying, status: str) -> Body:
    done = status == "completed"
    return {
        "id": f"resp_{said.key}", "object": "response", "created_at": said.created, "status": status,
        "model": said.model, "output": [_item(said, status)] if done else [],
        "usage": _RESPONSES_USAGE if done else None, "error": None, "incomplete_details": None, "instructions": None,
        "metadata": {}, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "temperature": 1.0, "top_p": 1.0,
    }  # fmt: skip


def _response_steps(said: Saying) -> Iterator[tuple[str, Body]]:
    at: Body = {"item_id": f"msg_{said.key}", "output_index": 0, "content_index": 0}
    yield "response.created", {"response": _response(said, "in_progress")}
    yield "response.output_item.added", {"output_index": 0, "item": _item(said, "in_progress")}
    yield "response.content_part.added", at | {"part": _part("")}
    yield "response.output_text.delta", at | {"delta": said.text, "logprobs": []}
    yield "response.output_text.done", at | {"text": said.text, "logprobs": []}
    yield "response.content_part.done", at | {"part": _part(said.text)}
    yield "response.output_item.done", {"output_index": 0, "item": _item(said, "completed")}
    yield "response.completed", {"response": _response(said, "completed")}


def _item(said: Saying, status: str) -> Body:
    content = [_part(said.text)] if status == "completed" else []
    return {"id": f"msg_{said.key}", "type": "message", "role": "assistant", "status": status, "content": content}


def _part(text: str) -> Body:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(said: Saying) -> Body:
    return {
        "id": f"msg_{said.key}", "type": "message", "role": "assistant", "model": said.model, "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": _MESSAGES_USAGE,
    }  # fmt: skip


def _named(kind: str, facts: Body) -> bytes:
    return f"event: {kind}\ndata: ".encode() + orjson.dumps({"type": kind, **facts}) + b"\n\n"
