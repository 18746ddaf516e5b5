"""OpenAI's responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request

from controller.sandbox.llm import openai_errors, response_events
from controller.sandbox.llm.answers import Answer, Usage
from controller.sandbox.llm.turns import Body, Dialect, Fault, Tool, Turn, bearer, event, unasked, validated
from controller.sandbox.llm.wording import Message

_ECHOED = ("instructions", "max_output_tokens", "metadata", "previous_response_id", "reasoning", "temperature",
           "text", "tool_choice", "tools", "top_p", "truncation", "user", "parallel_tool_calls", "store")  # fmt: skip
_UNSAID: Body = {
    "instructions": None, "max_output_tokens": None, "metadata": {}, "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None}, "temperature": 1.0, "text": {"format": {"type": "text"}},
    "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled", "user": None,
    "parallel_tool_calls": True, "store": True,
}  # fmt: skip


class _Item(BaseModel):
    type: Literal["message", "function_call", "function_call_output", "reasoning", "item_reference"] = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[dict[str, Any]] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str | list[dict[str, Any]] = ""


class _Offer(BaseModel):
    type: str
    name: str = ""
    parameters: dict[str, Any] | None = None


class _Request(BaseModel):
    model: str
    input: str | list[_Item]
    instructions: str | None = None
    tools: list[_Offer] | None = None
    tool_choice: str | dict[str, Any] | None = None
    stream: bool | None = None
    max_output_tokens: int | None = Field(default=None, ge=16)
    previous_response_id: str | None = None


def read(_: Request, body: Body) -> Turn:
    """The turn in a request's body."""
    given = validated(_Request, body)
    if given.previous_response_id:
        raise Fault(
            400,
            f"Previous response with id '{given.previous_response_id}' not found.",
            code="previous_response_not_found",
            param="previous_response_id",
        )
    messages = list(_messages(given))
    for call in unasked(messages):
        raise Fault(400, f"No tool call found for function call output with call_id {call}.", param="input")
    for call in _unanswered(messages):
        raise Fault(400, f"No tool output found for function call {call}.", param="input")
    return Turn(
        model=given.model,
        messages=messages,
        prompt=[given.instructions or "", body["input"], body.get("tools") or []],
        stream=bool(given.stream),
        limit=given.max_output_tokens,
        forced=_forced(given),
        raw=body,
    )


def whole(answer: Answer) -> Body:
    """The answer as one ``response``."""
    return envelope(answer, _status(answer), response_events.items(answer))


def events(answer: Answer) -> Iterator[bytes]:
    """The answer as typed events, numbered from 0."""
    number = 0

    def numbered(kind: str, facts: Body) -> bytes:
        nonlocal number
        made = event({"type": kind, "sequence_number": number, **facts}, kind)
        number += 1
        return made

    begun = envelope(answer, "in_progress", [])
    yield numbered("response.created", {"response": begun})
    yield numbered("response.in_progress", {"response": begun})
    for kind, facts in response_events.steps(answer):
        yield numbered(kind, facts)
    yield numbered(f"response.{_status(answer)}", {"response": whole(answer)})


def envelope(answer: Answer, status: str, output: list[Body]) -> Body:
    """The response object in this status."""
    done = status != "in_progress"
    raw = answer.turn.raw
    echoed = {name: raw[name] if raw.get(name) is not None else _UNSAID[name] for name in _ECHOED}
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "model": answer.model,
        "output": output,
        "service_tier": "default",
        "usage": _usage(answer.usage) if done and answer.tells_usage else None,
        **echoed,
    }


def _messages(given: _Request) -> Iterator[Message]:
    """The input in the form of chat; calls next to one another become one assistant's message."""
    if given.instructions:
        yield {"role": "system", "content": given.instructions}
    if isinstance(given.input, str):
        yield {"role": "user", "content": given.input}
        return
    waiting: list[Body] = []
    for item in given.input:
        if item.type in ("reasoning", "item_reference"):
            continue
        if item.type == "function_call":
            waiting.append({"id": item.call_id, "function": {"name": item.name, "arguments": item.arguments}})
            continue
        if waiting:
            yield {"role": "assistant", "content": None, "tool_calls": waiting}
            waiting = []
        if item.type == "function_call_output":
            yield {"role": "tool", "tool_call_id": item.call_id, "content": _content(item.output)}
        else:
            yield {"role": item.role or "user", "content": _content(item.content)}
    if waiting:
        yield {"role": "assistant", "content": None, "tool_calls": waiting}


def _unanswered(messages: list[Message]) -> list[str]:
    """Calls without a result, which here may come anywhere after its call."""
    answered = {one["tool_call_id"] for one in messages if one["role"] == "tool"}
    called = [call["id"] for one in messages for call in one.get("tool_calls") or ()]
    return [call for call in called if call not in answered]


def _content(content: str | list[Body] | None) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(str(part["text"]) for part in content if isinstance(part.get("text"), str))


def _forced(given: _Request) -> Tool | None:
    offered = {one.name: one for one in given.tools or () if one.type == "function"}
    if given.tool_choice in (None, "auto", "none") or not offered:
        return None
    name = given.tool_choice.get("name") if isinstance(given.tool_choice, dict) else next(iter(offered))
    if name not in offered:
        raise Fault(400, f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    return Tool(offered[name].name, offered[name].parameters or {})


def _status(answer: Answer) -> str:
    return "incomplete" if answer.finish == "length" else "completed"


def _usage(used: Usage) -> Body:
    return {
        "input_tokens": used.prompt,
        "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.cache_written},
        "output_tokens": used.completion,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.total,
    }


def _broken(fault: Fault) -> bytes:
    told = {"code": fault.error_code or "server_error", "message": fault.message, "param": fault.param}
    return event({"type": "error", "sequence_number": 0, **told}, "error")


DIALECT = Dialect("responses", bearer, openai_errors.stranger, read, whole, events, openai_errors.form, _broken)
