"""What tests and the demo steer below ``/_control``: the script, the keys, and the record of what was asked.

``PUT script`` (all of it), ``GET script``, ``DELETE script``, ``POST rules`` (one more), ``DELETE rules/{id}``,
``GET requests?after=&limit=&bodies=&wait=``, ``GET usage``, ``POST keys``, ``DELETE keys/{label}``, ``POST reset``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.core.errors import Invalid
from controller.sandbox.documents import Documents
from controller.sandbox.llm import openai_errors, scripts
from controller.sandbox.llm.ledger import Ledger
from controller.sandbox.llm.scripts import Rule, Script
from controller.sandbox.llm.turns import Fault

LONGEST_WAIT_SECONDS = 60
POLL_SECONDS = 0.05

BodyT = TypeVar("BodyT", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response]]


class NewKey(BaseModel):
    """A further key that may ask."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1, max_length=512)


async def _put_script(request: Request) -> Response:
    script = await _body(request, Script)
    scripts.replace(_documents(request), script)
    return JSONResponse({"replies": len(script.replies), "rules": [rule.id for rule in script.rules]})


async def _get_script(request: Request) -> Response:
    return JSONResponse(scripts.load(_documents(request)).model_dump(exclude_defaults=True))


async def _delete_script(request: Request) -> Response:
    scripts.replace(_documents(request), Script())
    return Response(status_code=204)


async def _add_rule(request: Request) -> Response:
    rule = await _body(request, Rule)
    with _documents(request).transaction():
        scripts.add(_documents(request), rule)
    return JSONResponse({"id": rule.id})


async def _drop_rule(request: Request) -> Response:
    if not scripts.drop(_documents(request), request.path_params["id"]):
        raise Fault(404, "There is no such rule.")
    return Response(status_code=204)


async def _list_requests(request: Request) -> Response:
    after, limit, wait = _number(request, "after", 0), _number(request, "limit", -1), _number(request, "wait", 0)
    bodies = request.query_params.get("bodies", "1") != "0"
    ledger = _ledger(request)
    deadline = asyncio.get_running_loop().time() + min(wait, LONGEST_WAIT_SECONDS)
    while not (found := ledger.requests(after, limit=limit, with_bodies=bodies)):
        if asyncio.get_running_loop().time() >= deadline or await request.is_disconnected():
            break
        await asyncio.sleep(POLL_SECONDS)
    return JSONResponse({"requests": found})


async def _sum_usage(request: Request) -> Response:
    return JSONResponse(_ledger(request).usage())


async def _add_key(request: Request) -> Response:
    key = await _body(request, NewKey)
    return JSONResponse({"label": _ledger(request).admit(key.key)})


async def _revoke_key(request: Request) -> Response:
    if not _ledger(request).revoke(request.path_params["label"]):
        raise Fault(404, "There is no such key.")
    return Response(status_code=204)


async def _reset(request: Request) -> Response:
    _ledger(request).reset()
    return Response(status_code=204)


async def _ready(_: Request) -> Response:
    return JSONResponse({"ready": True})


async def refuse(_: Request, exc: Exception) -> Response:
    """The answer to a control call that cannot be met."""
    if not isinstance(exc, Fault):
        raise exc
    return JSONResponse(openai_errors.form(exc), exc.status)


async def _body(request: Request, model: type[BodyT]) -> BodyT:
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        raise Fault(Invalid.status, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from exc


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, str(default))
    if given != str(default) and not (given.isascii() and given.isdecimal()):
        raise Fault(Invalid.status, f"{name}: a whole number", param=name)
    return int(given)


def _documents(request: Request) -> Documents:
    return _ledger(request).documents


def _ledger(request: Request) -> Ledger:
    ledger: Ledger = request.app.state.ledger
    return ledger


ROUTES = [
    Route("/_control/script", _put_script, methods=["PUT"]),
    Route("/_control/script", _get_script, methods=["GET"]),
    Route("/_control/script", _delete_script, methods=["DELETE"]),
    Route("/_control/rules", _add_rule, methods=["POST"]),
    Route("/_control/rules/{id}", _drop_rule, methods=["DELETE"]),
    Route("/_control/requests", _list_requests, methods=["GET"]),
    Route("/_control/usage", _sum_usage, methods=["GET"]),
    Route("/_control/keys", _add_key, methods=["POST"]),
    Route("/_control/keys/{label}", _revoke_key, methods=["DELETE"]),
    Route("/_control/reset", _reset, methods=["POST"]),
    Route("/_control/ready", _ready, methods=["GET"]),
]
