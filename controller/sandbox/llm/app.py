"""The LLM's stand-in as a web application: OpenAI's API below ``/v1``, control below ``/_control``."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from controller.core import clock
from controller.core import log as logs
from controller.core.errors import Refused
from controller.sandbox.documents import Document, Documents
from controller.sandbox.llm import answers, scripts, wording
from controller.sandbox.llm.answers import Answer
from controller.sandbox.llm.scripts import Reply, Script

log = logs.get(__name__)

MODELS = ("small", "large", "default")
"""What ``/v1/models`` lists; a request may name any model."""
KEPT_REQUESTS = 2_000
"""Older requests are forgotten; their usage stays in the sums."""


class BadRequest(Refused):
    """Raised to answer a request with OpenAI's error form."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(code or "invalid_request")
        self.status = status
        self.body = answers.error(status, message, code=code, param=param)


def create_app(folder: Path, key: str, models: Sequence[str] = MODELS) -> Starlette:
    """The model behind ``key``, its script and its record of requests kept in ``folder``."""
    documents = Documents(folder)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        documents.close()

    routes = [
        Route("/v1/models", _list_models, methods=["GET"]),
        Route("/v1/chat/completions", _complete, methods=["POST"]),
        Route("/_control/script", _put_script, methods=["PUT"]),
        Route("/_control/script", _delete_script, methods=["DELETE"]),
        Route("/_control/requests", _list_requests, methods=["GET"]),
        Route("/_control/usage", _sum_usage, methods=["GET"]),
        Route("/_control/ready", _ready, methods=["GET"]),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={BadRequest: _refuse})
    app.state.documents, app.state.key, app.state.models = documents, key, models
    return app


async def _list_models(request: Request) -> Response:
    _authenticate(request)
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "sandbox"} for name in request.app.state.models]
    return JSONResponse({"object": "list", "data": data})


async def _complete(request: Request) -> Response:
    _authenticate(request)
    body = _checked(await request.body())
    documents: Documents = request.app.state.documents
    with documents.transaction():
        reply = scripts.take(documents, wording.human_text(body["messages"]))
        answer = answers.compose(body, reply) if reply.status < 400 else None
        number = _record(documents, request, body, reply, answer)
    log.info("llm.request_taken", number=number, model=body["model"], status=reply.status)
    await asyncio.sleep(reply.delay_ms / 1000)
    if answer is None:
        text = reply.text or f"The model answered {reply.status}."
        return JSONResponse(answers.error(reply.status, text, code=reply.code), reply.status, reply.headers)
    if body.get("stream"):
        return StreamingResponse(
            _stream(documents, number, answer, reply, with_usage=_wants_usage(body)),
            media_type="text/event-stream",
            headers=reply.headers,
        )
    _finish(documents, number)
    return JSONResponse(answers.whole(answer), headers=reply.headers)


async def _stream(
    documents: Documents, number: int, answer: Answer, reply: Reply, *, with_usage: bool
) -> AsyncIterator[bytes]:
    for index, chunk in enumerate(answers.chunks(answer, with_usage=with_usage)):
        if index:
            await asyncio.sleep(reply.chunk_delay_ms / 1000)
        yield chunk
    _finish(documents, number)


def _wants_usage(body: dict[str, Any]) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


def _checked(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError as exc:
        raise BadRequest(400, "We could not parse the JSON body of your request.") from exc
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise BadRequest(400, "you must provide a model parameter")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise BadRequest(400, "Invalid type for 'messages': expected a filled array of objects.", param="messages")
    if body.get("n") not in (None, 1):
        raise BadRequest(400, "This stand-in gives one choice.", param="n")
    return body


def _is_message(given: Any) -> bool:
    if not isinstance(given, dict) or "role" not in given:
        return False
    content = given.get("content")
    return isinstance(content, str | None) or (
        isinstance(content, list) and all(isinstance(part, dict) for part in content)
    )


def _authenticate(request: Request) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), request.app.state.key.encode()):
        raise BadRequest(401, "Incorrect API key provided.", code="invalid_api_key")


def _record(documents: Documents, request: Request, body: dict[str, Any], reply: Reply, answer: Answer | None) -> int:
    number = documents.next("request")
    headers = dict(request.headers)
    headers["authorization"] = hashlib.sha256(headers["authorization"].encode()).hexdigest()
    usage = answer.usage if answer else None
    row: Document = {"n": number, "at": clock.now().timestamp(), "headers": headers, "body": body}
    documents.put("request", str(number), row | {"status": reply.status, "usage": usage, "finished": False})
    documents.remove("request", str(number - KEPT_REQUESTS))
    if usage:
        sums = _sums(documents)
        documents.put("usage", "only", {"requests": sums["requests"] + 1} | {
            name: sums[name] + usage[name] for name in ("prompt_tokens", "completion_tokens")
        })  # fmt: skip
    return number


def _finish(documents: Documents, number: int) -> None:
    row = documents.get("request", str(number))
    if row is not None:
        documents.put("request", str(number), row | {"finished": True})


def _sums(documents: Documents) -> Document:
    return documents.get("usage", "only") or {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0}


async def _put_script(request: Request) -> Response:
    try:
        script = Script.model_validate_json(await request.body())
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        raise BadRequest(422, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from exc
    scripts.replace(request.app.state.documents, script)
    return JSONResponse({"replies": len(script.replies)})


async def _delete_script(request: Request) -> Response:
    scripts.replace(request.app.state.documents, Script(replies=[]))
    return Response(status_code=204)


async def _list_requests(request: Request) -> Response:
    after = request.query_params.get("after", "0")
    if not after.isdecimal():
        raise BadRequest(422, "after: a number of a request", param="after")
    documents: Documents = request.app.state.documents
    return JSONResponse({"requests": documents.find("request", above=("n", int(after)))})


async def _sum_usage(request: Request) -> Response:
    return JSONResponse(_sums(request.app.state.documents))


async def _ready(_: Request) -> Response:
    return JSONResponse({"ready": True})


async def _refuse(_: Request, exc: Exception) -> Response:
    if not isinstance(exc, BadRequest):
        raise exc
    return JSONResponse(exc.body, exc.status)
