"""Errors in OpenAI's form, which is what the clients of this door parse."""

from __future__ import annotations

import math

import orjson
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


class BadRequest(CloudError):
    """Raised when the body cannot be forwarded: not JSON, no messages, a key that would redirect the call."""

    status = 400


class TooLarge(CloudError):
    """Raised when the body is over the limit."""

    status = 413


class UnknownModel(CloudError):
    """Raised for a model name that is not in the catalog."""

    status = 404


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


def answer(error: CloudError) -> Response:
    """The error as OpenAI would say it, with ``Retry-After`` if it is temporary; no secret is in it."""
    headers = {}
    if isinstance(error, Temporary):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
    kind = _TYPES.get(error.status, "server_error")
    body = {"error": {"message": _sentence(error), "type": kind, "param": None, "code": error.code}}
    return Response(orjson.dumps(body), error.status, headers, "application/json")


def _sentence(error: CloudError) -> str:
    told = ", ".join(f"{name}: {value}" for name, value in error.facts.items())
    return error.code.replace("_", " ") + (f" ({told})" if told else "")
