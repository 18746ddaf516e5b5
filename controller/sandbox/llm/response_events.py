"""The items of an OpenAI response, and the events that build them up in a stream."""

from __future__ import annotations

from collections.abc import Iterator

from controller.sandbox.llm.answers import Answer, Call
from controller.sandbox.llm.turns import Body

Step = tuple[str, Body]
"""An event's type and what it says."""


def items(answer: Answer) -> list[Body]:
    """The finished items, in their order: reasoning, message, calls."""
    made = []
    if answer.reasoning is not None:
        made.append(_reasoning(answer, answer.reasoning))
    if answer.text is not None:
        status = "incomplete" if answer.finish == "length" else "completed"
        made.append(_message(answer, status, [_part(answer, answer.text)]))
    made += [_call(answer, index, call, "completed", call.arguments) for index, call in enumerate(answer.calls)]
    return made


def steps(answer: Answer) -> Iterator[Step]:
    """What happens between a response's beginning and its end."""
    index = 0
    if answer.reasoning is not None:
        yield from _reasoned(answer, answer.reasoning)
        index = 1
    if answer.text is not None:
        yield from _said(answer, index, answer.text)
        index += 1
    for number, call in enumerate(answer.calls):
        yield from _called(answer, index + number, number, call)


def _reasoned(answer: Answer, reasoning: str) -> Iterator[Step]:
    at: Body = {"item_id": f"rs_{answer.id}", "output_index": 0, "summary_index": 0}
    prefix = "response.reasoning_summary"
    yield _added(0, _reasoning(answer, None))
    yield f"{prefix}_part.added", at | {"part": {"type": "summary_text", "text": ""}}
    for piece in answer.pieces(reasoning):
        yield f"{prefix}_text.delta", at | {"delta": piece}
    yield f"{prefix}_text.done", at | {"text": reasoning}
    yield f"{prefix}_part.done", at | {"part": {"type": "summary_text", "text": reasoning}}
    yield _done(0, _reasoning(answer, reasoning))


def _said(answer: Answer, index: int, text: str) -> Iterator[Step]:
    at: Body = {"item_id": f"msg_{answer.id}", "output_index": index, "content_index": 0}
    kind = "refusal" if answer.finish == "refusal" else "output_text"
    extra: Body = {} if kind == "refusal" else {"logprobs": []}
    yield _added(index, _message(answer, "in_progress", []))
    yield "response.content_part.added", at | {"part": _part(answer, "")}
    for piece in answer.pieces(text):
        yield f"response.{kind}.delta", at | {"delta": piece} | extra
    yield f"response.{kind}.done", at | {"refusal" if kind == "refusal" else "text": text} | extra
    yield "response.content_part.done", at | {"part": _part(answer, text)}
    status = "incomplete" if answer.finish == "length" else "completed"
    yield _done(index, _message(answer, status, [_part(answer, text)]))


def _called(answer: Answer, index: int, number: int, call: Call) -> Iterator[Step]:
    at: Body = {"item_id": f"fc_{answer.id}{number:02}", "output_index": index}
    kind = "response.function_call_arguments"
    yield _added(index, _call(answer, number, call, "in_progress", ""))
    for part in answer.fragments(call.arguments):
        yield f"{kind}.delta", at | {"delta": part}
    yield f"{kind}.done", at | {"name": call.name, "arguments": call.arguments}
    yield _done(index, _call(answer, number, call, "completed", call.arguments))


def _added(index: int, item: Body) -> Step:
    return "response.output_item.added", {"output_index": index, "item": item}


def _done(index: int, item: Body) -> Step:
    return "response.output_item.done", {"output_index": index, "item": item}


def _reasoning(answer: Answer, text: str | None) -> Body:
    summary = [] if text is None else [{"type": "summary_text", "text": text}]
    return {"id": f"rs_{answer.id}", "type": "reasoning", "summary": summary}


def _message(answer: Answer, status: str, content: list[Body]) -> Body:
    return {"id": f"msg_{answer.id}", "type": "message", "status": status, "role": "assistant", "content": content}


def _part(answer: Answer, text: str) -> Body:
    if answer.finish == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(answer: Answer, number: int, call: Call, status: str, arguments: str) -> Body:
    return {
        "id": f"fc_{answer.id}{number:02}",
        "type": "function_call",
        "status": status,
        "call_id": call.id or f"call_{answer.id[-22:]}{number:02}",
        "name": call.name,
        "arguments": arguments,
    }
