"""Answers in OpenAI's wire format: whole, in chunks, or as an error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from controller.core import clock, ids
from controller.sandbox.llm import wording
from controller.sandbox.llm.scripts import Reply

_PIECE = re.compile(r"\s*\S+\s*")
_ERROR_TYPES = {400: "invalid_request_error", 401: "invalid_request_error", 404: "invalid_request_error",
                402: "insufficient_quota", 429: "rate_limit_error"}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A tool call of an answer; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Answer:
    """What the model says, and what it counts."""

    id: str
    created: int
    model: str
    text: str | None
    calls: tuple[Call, ...]
    finish_reason: str
    usage: dict[str, int]


def compose(body: dict[str, Any], reply: Reply) -> Answer:
    """The answer to ``body`` that ``reply`` asks for, cut at the request's limit of completion tokens."""
    text = reply.text
    if text is None and not reply.tool_calls:
        text = wording.default_reply(body["messages"])
    calls = tuple(
        Call(call.id or f"call_{ids.new()}", call.name, json.dumps(call.arguments, ensure_ascii=False))
        for call in reply.tool_calls
    )
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    cut = text if text is None or limit is None else wording.shortened(text, limit)
    prompt = wording.prompt_tokens(body)
    completion = wording.completion_tokens(cut or "", [(call.name, call.arguments) for call in calls])
    return Answer(
        id=f"chatcmpl-{ids.new()}",
        created=int(clock.now().timestamp()),
        model=body["model"],
        text=cut,
        calls=calls,
        finish_reason="length" if cut != text else "tool_calls" if calls else "stop",
        usage={"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    )


def whole(answer: Answer) -> dict[str, Any]:
    """The answer as one ``chat.completion``."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.calls:
        message["tool_calls"] = [_call(call, call.arguments) for call in answer.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
    return _envelope(answer, "chat.completion") | {"choices": [choice], "usage": answer.usage}


def chunks(answer: Answer, *, with_usage: bool) -> Iterator[bytes]:
    """The answer as server-sent events, a few words each; usage in a last chunk if asked for; then ``[DONE]``."""
    envelope = _envelope(answer, "chat.completion.chunk") | ({"usage": None} if with_usage else {})
    for delta in _deltas(answer):
        yield _event(envelope | {"choices": [_choice(delta, None)]})
    yield _event(envelope | {"choices": [_choice({}, answer.finish_reason)]})
    if with_usage:
        yield _event(envelope | {"choices": [], "usage": answer.usage})
    yield b"data: [DONE]\n\n"


def error(status: int, message: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    kind = _ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": "" if answer.text is not None else None, "refusal": None}
    for piece in _PIECE.findall(answer.text or "") or filter(None, [answer.text]):
        yield {"content": piece}
    for index, call in enumerate(answer.calls):
        yield {"tool_calls": [{"index": index} | _call(call, "")]}
        half = len(call.arguments) // 2
        for part in (call.arguments[:half], call.arguments[half:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


def _call(call: Call, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _envelope(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": answer.id,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"
