"""Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request

from controller.core import ids
from controller.sandbox.llm.answers import Answer, Call, Usage
from controller.sandbox.llm.turns import Body, Dialect, Fault, Tool, Turn, bearer, event, unanswered, unasked, validated
from controller.sandbox.llm.wording import Message

_ERRORS = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error",
    504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip
_STOPS = {"stop": "end_turn", "stop_sequence": "stop_sequence", "length": "max_tokens", "tool_calls": "tool_use",
          "refusal": "refusal"}  # fmt: skip


class _Block(BaseModel):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = {}
    tool_use_id: str = ""
    content: str | list[dict[str, Any]] | None = None


class _Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str | list[_Block]


class _Offer(BaseModel):
    name: str
    input_schema: dict[str, Any] = {}


class _Choice(BaseModel):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class _Counted(BaseModel):
    model: str
    messages: list[_Message] = Field(min_length=1)
    system: str | list[_Block] | None = None
    tools: list[_Offer] | None = None
    tool_choice: _Choice | None = None


class _Request(_Counted):
    max_tokens: int = Field(ge=1)
    stream: bool | None = None
    stop_sequences: list[str] | None = None


def key(request: Request) -> str | None:
    """The API key that a request brings: gateways send ``x-api-key``, Anthropic's newer clients a bearer token."""
    return request.headers.get("x-api-key") or bearer(request)


def stranger(given: str | None) -> Fault:
    """The error for a missing or wrong key."""
    return Fault(401, "x-api-key header is required" if given is None else "invalid x-api-key")


def read(request: Request, body: Body) -> Turn:
    """The turn in a request's body."""
    _check_version(request)
    given = validated(_Request, body)
    messages = list(_messages(given))
    for call in unasked(messages):
        raise Fault(
            400,
            f"messages: unexpected `tool_use_id` found in `tool_result` blocks: {call}. Each `tool_result` block must"
            " have a corresponding `tool_use` block in the previous message.",
        )
    for call in unanswered(messages):
        raise Fault(400, f"messages: `tool_use` ids were found without `tool_result` blocks immediately after: {call}.")
    return Turn(
        model=given.model,
        messages=messages,
        prompt=_counted(body),
        stream=bool(given.stream),
        limit=given.max_tokens,
        stops=tuple(given.stop_sequences or ()),
        forced=_forced(given),
        raw=body,
    )


def read_counted(request: Request, body: Body) -> list[Any]:
    """What a request to count tokens asks to be counted."""
    _check_version(request)
    validated(_Counted, body)
    return _counted(body)


def whole(answer: Answer) -> Body:
    """The answer as one ``message``."""
    told = {"usage": _usage(answer.usage, answer.usage.completion)} if answer.tells_usage else {}
    return _envelope(answer) | {
        "content": list(_blocks(answer)),
        "stop_reason": _STOPS[answer.finish],
        "stop_sequence": answer.stopped_by,
    } | told  # fmt: skip


def events(answer: Answer) -> Iterator[bytes]:
    """The answer as typed events."""
    told = {"usage": _usage(answer.usage, 1)} if answer.tells_usage else {}
    opened = _envelope(answer) | {"content": [], "stop_reason": None, "stop_sequence": None} | told
    yield _event("message_start", message=opened)
    for index, block in enumerate(_blocks(answer)):
        yield _event("content_block_start", index=index, content_block=_opened(block))
        if index == 0:
            yield _event("ping")
        for delta in _deltas(answer, block):
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    ending = {"stop_reason": _STOPS[answer.finish], "stop_sequence": answer.stopped_by}
    final = _usage(answer.usage, answer.usage.completion)
    del final["service_tier"], final["cache_creation"]
    yield _event("message_delta", delta=ending, **({"usage": final} if answer.tells_usage else {}))
    yield _event("message_stop")


def error(fault: Fault) -> Body:
    """The body of an error."""
    kind = fault.error_code or _ERRORS.get(
        fault.status, "api_error" if fault.status >= 500 else "invalid_request_error"
    )
    return {"type": "error", "error": {"type": kind, "message": fault.message}, "request_id": f"req_{ids.new()}"}


def _check_version(request: Request) -> None:
    if "anthropic-version" not in request.headers:
        raise Fault(400, "anthropic-version: header is required")


def _counted(body: Body) -> list[Any]:
    return [body.get("system") or "", body["messages"], body.get("tools") or []]


def _messages(given: _Counted) -> Iterator[Message]:
    """The messages in the form of chat; a user's message with tool results becomes several."""
    if given.system:
        yield {"role": "system", "content": _text(given.system)}
    for message in given.messages:
        if isinstance(message.content, str):
            yield {"role": message.role, "content": message.content}
            continue
        calls = [
            {"id": block.id, "function": {"name": block.name, "arguments": json.dumps(block.input)}}
            for block in message.content
            if block.type == "tool_use"
        ]
        for block in message.content:
            if block.type == "tool_result":
                yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": _text(block.content or "")}
        spoken = _text(message.content)
        if spoken or calls:
            yield {"role": message.role, "content": spoken} | ({"tool_calls": calls} if calls else {})


def _text(content: str | list[_Block] | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    blocks = [block if isinstance(block, dict) else block.model_dump() for block in content]
    return "\n".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")


def _forced(given: _Request) -> Tool | None:
    offered = {one.name: one for one in given.tools or ()}
    if given.tool_choice is None or given.tool_choice.type in ("auto", "none") or not offered:
        return None
    name = given.tool_choice.name or next(iter(offered))
    if name not in offered:
        raise Fault(400, f"tool_choice: Tool '{name}' not found in provided tools")
    return Tool(name, offered[name].input_schema)


def _blocks(answer: Answer) -> Iterator[Body]:
    if answer.reasoning is not None:
        yield {"type": "thinking", "thinking": answer.reasoning, "signature": f"sandbox{answer.id}"}
    if answer.text is not None:
        yield {"type": "text", "text": answer.text}
    for index, call in enumerate(answer.calls):
        yield _tool_use(answer, index, call)


def _tool_use(answer: Answer, index: int, call: Call) -> Body:
    made = call.id or f"toolu_{answer.id[-22:]}{index:02}"
    return {"type": "tool_use", "id": made, "name": call.name, "input": json.loads(call.arguments)}


def _opened(block: Body) -> Body:
    empty: Body = {"thinking": "", "signature": "", "text": "", "input": {}}
    return {name: empty.get(name, value) if name != "type" else value for name, value in block.items()}


def _deltas(answer: Answer, block: Body) -> Iterator[Body]:
    if block["type"] == "thinking":
        for piece in answer.pieces(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] == "text":
        for piece in answer.pieces(block["text"]):
            yield {"type": "text_delta", "text": piece}
    else:
        arguments = next(call.arguments for index, call in enumerate(answer.calls) if _is(answer, index, call, block))
        for part in ["", *answer.fragments(arguments)]:
            yield {"type": "input_json_delta", "partial_json": part}


def _is(answer: Answer, index: int, call: Call, block: Body) -> bool:
    return bool(_tool_use(answer, index, call)["id"] == block["id"])


def _envelope(answer: Answer) -> Body:
    return {"id": f"msg_{answer.id}", "type": "message", "role": "assistant", "model": answer.model}


def _usage(used: Usage, output: int) -> Body:
    return {
        "input_tokens": used.prompt - used.cached - used.cache_written,
        "cache_creation_input_tokens": used.cache_written,
        "cache_read_input_tokens": used.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": used.cache_written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
        "service_tier": "standard",
    }


def _event(kind: str, **facts: Any) -> bytes:
    return event({"type": kind, **facts}, kind)


def _broken(fault: Fault) -> bytes:
    told = error(fault)["error"]
    return _event("error", error=told)


DIALECT = Dialect("messages", key, stranger, read, whole, events, error, _broken)
