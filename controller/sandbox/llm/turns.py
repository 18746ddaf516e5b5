"""One request to the model, whatever its wire format, and the error that answers it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from controller.core.errors import CloudError
from controller.sandbox.llm.wording import Message

if TYPE_CHECKING:
    from controller.sandbox.llm.answers import Answer

Body = dict[str, Any]
"""A JSON object as it travels."""

LARGEST_BODY_BYTES = 32 * 1024 * 1024
"""Anthropic's limit; the other vendors' are near it."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class Fault(CloudError):
    """Raised to answer a request with an error in its vendor's form."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        """``code`` and ``param`` reach only the vendors whose errors have them."""
        super().__init__(code or "llm_refused", message=message)
        self.status = status
        self.message = message
        self.error_code = code
        self.param = param


@dataclass(frozen=True)
class Tool:
    """A function that the model may call; ``parameters`` is its JSON schema."""

    name: str
    parameters: Body


@dataclass(frozen=True)
class Turn:
    """What a request asks of the model."""

    model: str
    messages: list[Message]
    """In the form of OpenAI's chat, to find words and tool results in."""
    prompt: list[Any]
    """What the model reads, as it was sent: this is counted."""
    stream: bool = False
    limit: int | None = None
    """The most tokens of the answer's text."""
    stops: tuple[str, ...] = ()
    forced: Tool | None = None
    """The tool that the request obliges the model to call."""
    choices: int = 1
    counted: int | None = None
    """The prompt's tokens where they are no matter of ``prompt``."""
    speaks: bool = True
    """False: the answer has no words."""
    raw: Body = field(default_factory=dict)
    """The request's own body, for what a dialect repeats in its answer."""


@dataclass(frozen=True)
class Dialect:
    """A vendor's wire format."""

    name: str
    key: Callable[[Request], str | None]
    """The API key that a request brings."""
    stranger: Callable[[str | None], Fault]
    """The error for a key that is missing or wrong."""
    read: Callable[[Request, Body], Turn]
    """Raises Fault if the body is malformed."""
    whole: Callable[[Answer], Body]
    events: Callable[[Answer], Iterator[bytes]]
    """The stream, one event at a time, to the very end."""
    error: Callable[[Fault], Body]
    broken: Callable[[Fault], bytes]
    """The event that tells of an error in mid-stream."""


async def body_of(request: Request) -> Body:
    """The request's JSON object.

    Raises Fault (413, 400) if it is too large, no JSON or no object.
    """
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > LARGEST_BODY_BYTES:
            raise Fault(413, "Request exceeds the maximum size", code="request_too_large")
    try:
        body = json.loads(bytes(read))
        # A lone surrogate is valid JSON and no text: it could be neither counted nor recorded.
        if b"\\u" in read:
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        raise Fault(400, "We could not parse the JSON body of your request.") from exc
    if not isinstance(body, dict):
        raise Fault(400, "The body of your request must be a JSON object.")
    return body


def validated(model: type[ModelT], body: Body) -> ModelT:
    """``body`` as ``model``.

    Raises Fault (400) that names the first wrong field otherwise.
    """
    try:
        return model.model_validate(body)
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise Fault(
            400, f"{where}: {problem['msg']}", param=str(problem["loc"][0]) if problem["loc"] else None
        ) from exc


def bearer(request: Request) -> str | None:
    """The token of an ``Authorization: Bearer`` header."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" and given.strip() else None


def unanswered(messages: list[Message]) -> list[str]:
    """Ids of tool calls that are not followed at once by their results; every vendor refuses such a turn."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting = [call for call in waiting if call != message["tool_call_id"]]
        elif waiting:
            return waiting
        else:
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
    return waiting


def unasked(messages: list[Message]) -> list[str]:
    """Ids of tool results that answer no call before them."""
    asked: set[str] = set()
    strange = []
    for message in messages:
        asked |= {call["id"] for call in message.get("tool_calls") or ()}
        if message["role"] == "tool" and message["tool_call_id"] not in asked:
            strange.append(message["tool_call_id"])
    return strange


def event(body: Body, name: str | None = None) -> bytes:
    """A server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()
