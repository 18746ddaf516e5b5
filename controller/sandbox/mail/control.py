"""What tests and the demo steer below ``/_control``: the mails that were taken, and those that shall not be.

``GET messages?to=&after=&wait=``, ``GET messages/{id}``, ``GET messages/{id}/raw``, ``DELETE messages?to=``,
``DELETE messages/{id}``, ``POST faults``, ``GET faults``, ``DELETE faults``.
"""

from __future__ import annotations

import math

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.core.errors import Invalid, NotFound, Refused
from controller.sandbox.documents import Document
from controller.sandbox.mail.inbox import Inbox
from controller.sandbox.mail.switches import Switch, Switches

LONGEST_WAIT_SECONDS = 60


async def _list(request: Request) -> Response:
    to = request.query_params.get("to")
    after, wait = _number(request, "after"), min(_number(request, "wait"), LONGEST_WAIT_SECONDS)
    found = await inbox(request).wait(to=to, after=int(after), seconds=wait)
    return JSONResponse({"messages": found})


async def _show(request: Request) -> Response:
    return JSONResponse(mail(request))


async def _show_raw(request: Request) -> Response:
    raw = inbox(request).raw(mail(request)["id"])
    return Response(raw, media_type="message/rfc822")


async def _clear(request: Request) -> Response:
    return JSONResponse({"removed": inbox(request).clear(request.query_params.get("to"))})


async def _remove(request: Request) -> Response:
    inbox(request).remove(mail(request)["id"])
    return Response(status_code=204)


async def _set_switch(request: Request) -> Response:
    try:
        switch = Switch.model_validate_json(await request.body())
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        raise Invalid("fault_malformed", problem=f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from exc
    _switches(request).set.append(switch)
    return JSONResponse({"ordered": True})


async def _list_switches(request: Request) -> Response:
    return JSONResponse({"faults": [one.model_dump() for one in _switches(request).set]})


async def _clear_switches(request: Request) -> Response:
    _switches(request).set.clear()
    return Response(status_code=204)


async def _ready(_: Request) -> Response:
    return JSONResponse({"ready": True})


async def refuse(_: Request, exc: Exception) -> Response:
    """The answer to a call that cannot be met."""
    if not isinstance(exc, Refused):
        raise exc
    return JSONResponse({"error": {"code": exc.code, **exc.facts}}, exc.status)


def inbox(request: Request) -> Inbox:
    """The mails."""
    kept: Inbox = request.app.state.inbox
    return kept


def mail(request: Request) -> Document:
    """The mail that the path names. Raises NotFound."""
    found = inbox(request).get(request.path_params["id"])
    if found is None:
        raise NotFound("mail_unknown", mail=request.path_params["id"])
    return found


def _number(request: Request, name: str) -> float:
    try:
        given = float(request.query_params.get(name, "0"))
    except ValueError as exc:
        raise Invalid("number_malformed", name=name) from exc
    if not math.isfinite(given) or given < 0:
        raise Invalid("number_malformed", name=name)
    return given


def _switches(request: Request) -> Switches:
    switches: Switches = request.app.state.switches
    return switches


ROUTES = [
    Route("/_control/messages", _list, methods=["GET"]),
    Route("/_control/messages", _clear, methods=["DELETE"]),
    Route("/_control/messages/{id:int}", _show, methods=["GET"]),
    Route("/_control/messages/{id:int}", _remove, methods=["DELETE"]),
    Route("/_control/messages/{id:int}/raw", _show_raw, methods=["GET"]),
    Route("/_control/faults", _set_switch, methods=["POST"]),
    Route("/_control/faults", _list_switches, methods=["GET"]),
    Route("/_control/faults", _clear_switches, methods=["DELETE"]),
    Route("/_control/ready", _ready, methods=["GET"]),
]
