"""The lists of models, in each vendor's form."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.sandbox.llm import chat, gemini, messages
from controller.sandbox.llm.ledger import authenticate
from controller.sandbox.llm.turns import Body, Fault

MODELS = ("small", "large", "default")
"""What is listed; a request may name any model."""


async def _list(request: Request) -> Response:
    """OpenAI's list, or Anthropic's to a request that names a version of its API."""
    is_anthropics = "anthropic-version" in request.headers
    dialect = messages.DIALECT if is_anthropics else chat.DIALECT
    try:
        authenticate(request, dialect)
    except Fault as fault:
        return JSONResponse(dialect.error(fault), fault.status)
    if is_anthropics:
        data = [_anthropics(name) for name in MODELS]
        return JSONResponse({"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})
    return JSONResponse({"object": "list", "data": [_openais(name) for name in MODELS]})


async def _show(request: Request) -> Response:
    """One model in OpenAI's form."""
    name = request.path_params["model"]
    try:
        authenticate(request, chat.DIALECT)
        if name not in MODELS:
            raise Fault(404, f"The model '{name}' does not exist", code="model_not_found", param="model")
    except Fault as fault:
        return JSONResponse(chat.DIALECT.error(fault), fault.status)
    return JSONResponse(_openais(name))


async def _list_gemini(request: Request) -> Response:
    try:
        authenticate(request, gemini.DIALECT)
    except Fault as fault:
        return JSONResponse(gemini.DIALECT.error(fault), fault.status)
    return JSONResponse({"models": [_googles(name) for name in MODELS]})


def _openais(name: str) -> Body:
    return {"id": name, "object": "model", "created": 0, "owned_by": "sandbox"}


def _anthropics(name: str) -> Body:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}


def _googles(name: str) -> Body:
    methods = ["generateContent", "countTokens", "streamGenerateContent"]
    return {"name": f"models/{name}", "version": "1", "displayName": name, "supportedGenerationMethods": methods}


ROUTES = [
    Route("/v1/models", _list, methods=["GET"]),
    Route("/v1/models/{model}", _show, methods=["GET"]),
    Route("/v1beta/models", _list_gemini, methods=["GET"]),
]
