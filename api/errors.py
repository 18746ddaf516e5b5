"""Errors at the edge: our codes with their facts as JSON, and nothing that a caller should not see."""

from __future__ import annotations

import json
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from controller.core import log as logs
from controller.core.errors import CloudError, Refused, Temporary

log = logs.get(__name__)


def install(app: FastAPI) -> None:
    """Make ``app`` answer our errors as ``{"error": {"code", "facts"}}`` with the status they carry."""
    app.add_exception_handler(CloudError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _frameworks)


async def _ours(_: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        return _answer(error.status, error.code, error.facts)
    if isinstance(error, Temporary):
        log.warning("api.temporary_failure", error=str(error))
        retry = {"Retry-After": str(max(1, int(error.retry_after.total_seconds())))}
        return _answer(503, error.code, {}, retry)
    log.error("api.failed", error=str(error))
    return _answer(500, getattr(error, "code", "internal"), {})


async def _invalid(_: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    fields = {".".join(str(part) for part in fault["loc"][1:]): fault["msg"] for fault in faults}
    return _answer(422, "request_invalid", {"fields": fields})


async def _frameworks(_: Request, error: Exception) -> Response:
    """No such route, another method, a body that is no JSON: the framework's own, in our form."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    code = HTTPStatus(status).phrase.lower().replace(" ", "_")
    return _answer(status, code, {}, dict(headers or {}))


def _answer(status: int, code: str, facts: dict[str, object], headers: dict[str, str] | None = None) -> Response:
    # escaped to ASCII: a name that a caller chose may hold half a surrogate pair, which is no UTF-8
    body = json.dumps({"error": {"code": code, "facts": facts}})
    return Response(body, status, headers, media_type="application/json")
