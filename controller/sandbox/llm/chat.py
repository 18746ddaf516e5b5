"""OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request

from controller.sandbox.llm import openai_errors
from controller.sandbox.llm.answers import Answer, Call, Usage
from controller.sandbox.llm.turns import Body, Dialect, Fault, Tool, Turn, bearer, event, unanswered, unasked, validated

FINISH = {"stop_sequence": "stop", "refusal": "stop"}


class _Part(BaseModel):
    type: str


class _Named(BaseModel):
    name: str
    arguments: str


class _Called(BaseModel):
    id: str
    function: _Named


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    tool_calls: list[_Called] | None = None
    tool_call_id: str | None = None


class _Function(BaseModel):
    name: str
    parameters: dict[str, Any] = {}


class _Offer(BaseModel):
    type: Literal["function"]
    function: _Function


class _StreamOptions(BaseModel):
    include_usage: bool | None = None


class _Chosen(BaseModel):
    function: dict[str, Any]


class _Request(BaseModel):
    model: str
    messages: list[_Message] = Field(min_length=1)
    tools: list[_Offer] | None = None
    tool_choice: str | _Chosen | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: str | list[str] | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    logprobs: bool | None = None


def read(_: Request, body: Body) -> Turn:
    """The turn in a request's body."""
    given = validated(_Request, body)
    if given.stream_options and not given.stream:
        raise Fault(
            400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    messages = body["messages"]
    _check_results(messages)
    return Turn(
        model=given.model,
        messages=messages,
        prompt=[messages, body.get("tools") or []],
        stream=bool(given.stream),
        limit=given.max_completion_tokens or given.max_tokens,
        stops=(given.stop,) if isinstance(given.stop, str) else tuple(given.stop or ()),
        forced=_forced(given),
        choices=given.n or 1,
        raw=body,
    )


def whole(answer: Answer) -> Body:
    """The answer as one ``chat.completion``."""
    message: Body = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
    if answer.finish == "refusal":
        message |= {"content": None, "refusal": answer.text}
    if answer.reasoning is not None:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [_call(answer, index, call, call.arguments) for index, call in enumerate(answer.calls)]
    choices = [
        {
            "index": index,
            "message": message,
            "logprobs": _logprobs(answer, answer.text),
            "finish_reason": _ending(answer),
        }
        for index in range(answer.turn.choices)
    ]
    told = {"usage": usage(answer.usage)} if answer.tells_usage else {}
    return _envelope(answer, "chat.completion") | {"choices": choices} | told


def events(answer: Answer) -> Iterator[bytes]:
    """The answer in chunks; usage in a last chunk if it was asked for; then ``[DONE]``."""
    asked = bool((answer.turn.raw.get("stream_options") or {}).get("include_usage")) and answer.tells_usage
    envelope = _envelope(answer, "chat.completion.chunk") | ({"usage": None} if asked else {})
    choices = range(answer.turn.choices)
    for delta in _deltas(answer):
        for index in choices:
            logprobs = _logprobs(answer, delta.get("content")) if delta.get("content") else None
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
            yield event(envelope | {"choices": [choice]})
    for index in choices:
        choice = {"index": index, "delta": {}, "logprobs": None, "finish_reason": _ending(answer)}
        yield event(envelope | {"choices": [choice]})
    if asked:
        yield event(envelope | {"choices": [], "usage": usage(answer.usage)})
    yield b"data: [DONE]\n\n"


def usage(used: Usage) -> Body:
    """What was used, in OpenAI's chat form."""
    return {
        "prompt_tokens": used.prompt,
        "completion_tokens": used.completion,
        "total_tokens": used.total,
        "prompt_tokens_details": {
            "cached_tokens": used.cached, "cache_write_tokens": used.cache_written, "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    }  # fmt: skip


def _check_results(messages: list[Body]) -> None:
    for index, message in enumerate(messages):
        if message["role"] == "tool" and not message.get("tool_call_id"):
            raise Fault(400, f"Missing required parameter: 'messages[{index}].tool_call_id'.", param="messages")
    if unasked(messages):
        raise Fault(
            400,
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
            " 'tool_calls'.",
            param="messages",
        )
    if missing := unanswered(messages):
        raise Fault(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
            f" 'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(missing)}",
            param="messages",
        )


def _forced(given: _Request) -> Tool | None:
    offered = {offer.function.name: offer.function for offer in given.tools or ()}
    if given.tool_choice in (None, "auto", "none") or not offered:
        return None
    name = given.tool_choice.function.get("name") if isinstance(given.tool_choice, _Chosen) else next(iter(offered))
    if name not in offered:
        raise Fault(400, f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    return Tool(offered[name].name, offered[name].parameters)


def _deltas(answer: Answer) -> Iterator[Body]:
    words = "refusal" if answer.finish == "refusal" else "content"
    yield {"role": "assistant", "content": "" if answer.text is not None else None, "refusal": None}
    for piece in answer.pieces(answer.reasoning or ""):
        yield {"reasoning_content": piece}
    for piece in answer.pieces(answer.text or ""):
        yield {words: piece}
    for index, call in enumerate(answer.calls):
        yield {"tool_calls": [{"index": index} | _call(answer, index, call, "")]}
        for part in answer.fragments(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


def _call(answer: Answer, index: int, call: Call, arguments: str) -> Body:
    key = call.id or f"call_{answer.id[-22:]}{index:02}"
    return {"id": key, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _logprobs(answer: Answer, text: str | None) -> Body | None:
    if not answer.turn.raw.get("logprobs"):
        return None
    content = [
        {"token": piece, "logprob": 0.0, "bytes": list(piece.encode()), "top_logprobs": []}
        for piece in answer.pieces(text or "")
    ]
    return {"content": content, "refusal": None}


def _ending(answer: Answer) -> str:
    return FINISH.get(answer.finish, answer.finish)


def _envelope(answer: Answer, kind: str) -> Body:
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }


def _broken(fault: Fault) -> bytes:
    return event(openai_errors.form(fault))


DIALECT = Dialect("chat", bearer, openai_errors.stranger, read, whole, events, openai_errors.form, _broken)
