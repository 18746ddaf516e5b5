"""Telegram's stand-in as a web application: ``/bot<token>/<method>``, and control below ``/_control``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.core import log as logs
from controller.sandbox.documents import Documents
from controller.sandbox.telegram import control, params
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import Fault
from controller.sandbox.telegram.methods import METHODS
from controller.sandbox.telegram.polling import Pollers
from controller.sandbox.telegram.pushing import Pusher

log = logs.get(__name__)

_BY_LOWER_NAME = {name.lower(): method for name, method in METHODS.items()}


def create_app(folder: Path) -> Starlette:
    """The application over the bots kept in ``folder``."""
    documents = Documents(folder)
    town = Town(documents)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        pushing = asyncio.create_task(Pusher(town).run())
        pushing.add_done_callback(_report_death)
        try:
            yield
        finally:
            pushing.cancel()
            with suppress(asyncio.CancelledError):
                await pushing
            documents.close()

    routes = [Route("/bot{token}/{method}", _serve, methods=["GET", "POST"]), *control.ROUTES]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Fault: _refuse, 404: _lost})
    app.state.town, app.state.pollers, app.state.ordered = town, Pollers(town), control.Ordered()
    return app


def _report_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()):
        log.error("telegram.pusher_died", exc_info=exc)


async def _serve(request: Request) -> Response:
    given = await params.read(request)
    bot = request.app.state.town.by_token(request.path_params["token"])
    name = request.path_params["method"]
    request.app.state.ordered.strike(bot["id"], name)
    result = await _call(request, bot, name, given)
    log.info("telegram.method_served", bot=bot["id"], method=name)
    return JSONResponse({"ok": True, "result": result})


async def _call(request: Request, bot: dict[str, Any], name: str, given: params.Params) -> Any:
    if name.lower() == "getupdates":
        pollers: Pollers = request.app.state.pollers
        return await pollers.poll(bot, given, request)
    method = _BY_LOWER_NAME.get(name.lower())
    if method is None:
        raise Fault(404, "Not Found: method not found")
    town: Town = request.app.state.town
    with town.documents.transaction():
        return method(town, bot, given)


async def _refuse(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, Fault):
        raise exc
    log.info("telegram.request_refused", status=exc.status, description=exc.description)
    return JSONResponse(exc.body(), exc.status)


async def _lost(_: Request, __: Exception) -> Response:
    return JSONResponse(Fault(404, "Not Found").body(), 404)
