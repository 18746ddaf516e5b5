"""The LLM's stand-in as a web application: OpenAI's, Anthropic's and Google's APIs, and control below ``/_control``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.core import ids
from controller.core import log as logs
from controller.sandbox.documents import Documents
from controller.sandbox.llm import (
    answers,
    chat,
    choosing,
    control,
    embeddings,
    filling,
    gemini,
    listings,
    messages,
    responses,
    wording,
)  # fmt: skip
from controller.sandbox.llm.answers import Answer
from controller.sandbox.llm.choosing import Chosen
from controller.sandbox.llm.delivery import Delivery, halves
from controller.sandbox.llm.ledger import End, Ledger, authenticate, shown
from controller.sandbox.llm.scripts import Api
from controller.sandbox.llm.turns import Body, Dialect, Fault, Turn, body_of

log = logs.get(__name__)

Handler = Callable[[Request], Awaitable[Response]]


def create_app(folder: Path, key: str) -> Starlette:
    """The model behind ``key``, its script and its record of requests kept in ``folder``."""
    documents = Documents(folder)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        documents.close()

    routes = [
        Route("/v1/chat/completions", _answering(chat.DIALECT), methods=["POST"]),
        Route("/v1/responses", _answering(responses.DIALECT), methods=["POST"]),
        Route("/v1/embeddings", _answering(embeddings.DIALECT), methods=["POST"]),
        Route("/v1/messages", _answering(messages.DIALECT), methods=["POST"]),
        Route("/v1/messages/count_tokens", _counting_messages, methods=["POST"]),
        # Google's clients name the version of their day; requests and answers are the same.
        Route("/{version}/models/{model}:countTokens", _counting_gemini, methods=["POST"]),
        Route("/{version}/models/{model}:generateContent", _answering(gemini.DIALECT), methods=["POST"]),
        Route("/{version}/models/{model}:streamGenerateContent", _answering(gemini.DIALECT), methods=["POST"]),
        *listings.ROUTES,
        *control.ROUTES,
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Fault: control.refuse})
    app.state.ledger = Ledger(documents, key)
    return app


def _answering(dialect: Dialect) -> Handler:
    """The endpoint that speaks ``dialect``; whatever is wrong is told in its form."""

    async def answer(request: Request) -> Response:
        try:
            name = authenticate(request, dialect)
            body = await body_of(request)
            return _answer(request, dialect, name, body, dialect.read(request, body))
        except Fault as fault:
            log.info("llm.request_refused", api=dialect.name, status=fault.status, problem=fault.message)
            return JSONResponse(dialect.error(fault), fault.status, _tracing(dialect))

    return answer


def _answer(request: Request, dialect: Dialect, name: str, body: Body, turn: Turn) -> Response:
    ledger: Ledger = request.app.state.ledger
    with ledger.documents.transaction():
        chosen = choosing.take(ledger.documents, cast(Api, dialect.name), turn)
        reply = chosen.reply
        answer = answers.compose(turn, chosen) if reply.status < 400 and reply.raw is None else None
        told = {
            "api": dialect.name, "path": request.url.path, "key": name, "model": turn.model, "stream": turn.stream,
            "human": wording.human_text(turn.messages), "status": reply.status,
            "usage": shown(answer.usage) if answer else None,
        }  # fmt: skip
        number = ledger.begin(told, request.headers, body)
        if answer is not None:
            ledger.spend(name, answer.usage)
    log.info("llm.request_taken", number=number, api=dialect.name, model=turn.model, status=reply.status)
    chunks, kind, size = _chunks(dialect, answer, chosen)
    fixed = {"content-type": reply.content_type or kind} | ({} if size is None else {"content-length": str(size)})

    def ended(end: End, written: int) -> None:
        ledger.finish(number, end, written)
        log.info("llm.request_ended", number=number, end=end)

    return Delivery(
        chunks,
        reply,
        status=reply.status,
        headers=fixed | _tracing(dialect) | reply.headers,
        ended=ended,
        broken=dialect.broken(Fault(500, "The server had an error while processing your request.")),
    )


def _chunks(dialect: Dialect, answer: Answer | None, chosen: Chosen) -> tuple[Iterable[bytes], str, int | None]:
    """The body in chunks, its content type, and its length unless it is a stream."""
    reply = chosen.reply
    if reply.raw is not None:
        body, kind = reply.raw.encode(), "text/html; charset=utf-8"
    elif answer is None:
        text = filling.fill(reply.text, chosen.facts) if reply.text else f"The model answered {reply.status}."
        body, kind = _encoded(dialect.error(Fault(reply.status, text, code=reply.code))), "application/json"
    elif answer.turn.stream:
        as_array = dialect.name == "gemini" and answer.turn.raw["alt"] != "sse"
        return dialect.events(answer), "application/json" if as_array else "text/event-stream", None
    else:
        body, kind = _encoded(dialect.whole(answer)), "application/json"
    return halves(body), kind, len(body)


def _encoded(body: Body) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _tracing(dialect: Dialect) -> dict[str, str]:
    """The header in which the vendor names a request."""
    names = {"messages": "request-id", "gemini": "x-gemini-request-id"}
    return {names.get(dialect.name, "x-request-id"): f"req_{ids.new()}"}


async def _counting_messages(request: Request) -> Response:
    return await _counted(request, messages.DIALECT, "input_tokens", messages.read_counted)


async def _counting_gemini(request: Request) -> Response:
    return await _counted(request, gemini.DIALECT, "totalTokens", gemini.read_counted)


async def _counted(
    request: Request, dialect: Dialect, name: str, read: Callable[[Request, Body], list[object]]
) -> Response:
    """What a request would count, without an answer and without being charged."""
    try:
        authenticate(request, dialect)
        counted = read(request, await body_of(request))
    except Fault as fault:
        return JSONResponse(dialect.error(fault), fault.status)
    return JSONResponse({name: wording.prompt_tokens(counted)})
