"""Errors in the forms that the clients of this door parse: OpenAI's, and Anthropic's for its messages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import orjson
from starlette.requests import Request
from starlette.responses import Response

from controller.core.errors import CloudError, Temporary

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


_ANTHROPICS = {**_TYPES, 413: "request_too_large", 503: "overloaded_error", 504: "timeout_error"}

_TOO_LONG = (
    "This model's maximum context length is {context_tokens} tokens. However, your messages resulted in "
    "{prompt_tokens} tokens. Please reduce the length of the messages."
)
"""OpenAI's words: by them a gateway knows, whatever wire it speaks, that it has to shorten the conversation."""

Form: TypeAlias = Callable[[int, str, str], Response]
"""Makes an answer of a status, a sentence and a code."""


class BadRequest(CloudError):
    """Raised when the body cannot be forwarded: not JSON, no content, a key that would redirect the call."""

    status = 400


class ContextExceeded(BadRequest):
    """Raised when the prompt is longer than the model's context."""

    def __init__(self, context_tokens: int, prompt_tokens: int) -> None:
        super().__init__("context_length_exceeded", context_tokens=context_tokens, prompt_tokens=prompt_tokens)


class TooLarge(CloudError):
    """Raised when the body is over the limit."""

    status = 413


class UnknownModel(CloudError):
    """Raised for a model name that is not in the catalog."""

    status = 404


class NotSpoken(CloudError):
    """Raised for a model whose provider does not have the endpoint."""

    status = 404


class ModelNotAllowed(CloudError):
    """Raised for a model that the customer's plan does not have."""

    status = 403


class BoxStopped(CloudError):
    """Raised when the token is right and its box is suspended, ended or the token revoked."""

    status = 403


class NoSuchRoute(CloudError):
    """Raised for a path or a method that the proxy does not serve."""

    status = 404


class UpstreamFailed(CloudError):
    """Raised when the provider cannot be reached or refuses our own key."""

    status = 502


class UpstreamSilent(CloudError):
    """Raised when the provider does not answer in time."""

    status = 504


def spoken(status: int, message: str, code: str) -> Response:
    """An error in OpenAI's form with words of somebody else."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Response(orjson.dumps(body), status, media_type="application/json")


def answer(error: CloudError, form: Form = spoken) -> Response:
    """The error as ``form`` says it, with ``Retry-After`` if it is temporary; no secret is in it."""
    response = form(error.status, _sentence(error), error.code)
    if isinstance(error, Temporary):
        response.headers["retry-after"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
    return response


def messages_form(status: int, message: str, _: str) -> Response:
    """An error in Anthropic's form, which has no codes."""
    kind = _ANTHROPICS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return Response(orjson.dumps(body), status, media_type="application/json")


def event(error: CloudError) -> bytes:
    """The error as an event of a chat's stream that has begun."""
    return b"data: " + bytes(answer(error).body) + b"\n\n"


def responses_event(error: CloudError) -> bytes:
    """The error as an event of a response's stream."""
    told = {"type": "error", "code": error.code, "message": _sentence(error), "param": None, "sequence_number": 0}
    return b"event: error\ndata: " + orjson.dumps(told) + b"\n\n"


def messages_event(error: CloudError) -> bytes:
    """The error as an event of an Anthropic message's stream."""
    return b"event: error\ndata: " + bytes(answer(error, messages_form).body) + b"\n\n"


async def no_route(_: Request, error: Exception) -> Response:
    """The answer to a path or a method that is not served."""
    return answer(NoSuchRoute("route_unknown", status=getattr(error, "status_code", 404)))


def _sentence(error: CloudError) -> str:
    if isinstance(error, ContextExceeded):
        return _TOO_LONG.format(**error.facts)
    told = ", ".join(f"{name}: {value}" for name, value in error.facts.items())
    return error.code.replace("_", " ") + (f" ({told})" if told else "")
