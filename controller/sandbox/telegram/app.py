"""Telegram's stand-in as a web application: the Bot API, the customer's chat page, and control below ``/_control``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from controller.core import log as logs
from controller.sandbox.beside import beside
from controller.sandbox.documents import Document, Documents
from controller.sandbox.telegram import control, files, methods, origins, pages, params, steering, updates
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import Fault
from controller.sandbox.telegram.params import Params
from controller.sandbox.telegram.polling import Pollers
from controller.sandbox.telegram.pushing import Pusher

log = logs.get(__name__)


def create_app(folder: Path) -> Starlette:
    """The application over the bots kept in ``folder``."""
    documents = Documents(folder)
    town = Town(documents, folder / "files")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        for bot in town.bots():
            updates.arm(town, bot)
        try:
            async with beside(Pusher(town, _caller(town)).run(), "the pusher of updates"):
                yield
        finally:
            documents.close()

    routes = [
        Route("/bot{token}/{method}", _serve, methods=["GET", "POST"]),
        Route("/file/bot{token}/{path:path}", _download, methods=["GET"]),
        *control.ROUTES,
        *steering.ROUTES,
        *origins.ROUTES,
        *pages.ROUTES,
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Fault: _refuse, 404: _lost})
    app.state.town, app.state.pollers, app.state.ordered = town, Pollers(town), steering.Ordered()
    return app


def _caller(town: Town) -> Any:
    def call(bot: Document, name: str, given: Params) -> Any:
        return methods.call(town, bot, name, given)

    return call


async def _serve(request: Request) -> Response:
    given = await params.read(request)
    bot = request.app.state.town.by_token(request.path_params["token"])
    name = request.path_params["method"]
    request.app.state.ordered.strike(bot["id"], name)
    result = await _call(request, bot, name, given)
    log.info("telegram.method_served", bot=bot["id"], method=name)
    return JSONResponse({"ok": True, "result": result})


async def _call(request: Request, bot: Document, name: str, given: Params) -> Any:
    if name.lower() == "getupdates":
        pollers: Pollers = request.app.state.pollers
        return await pollers.poll(bot, given, request)
    return methods.call(request.app.state.town, bot, name, given)


async def _download(request: Request) -> Response:
    town: Town = request.app.state.town
    bot = town.by_token(request.path_params["token"])
    where, known = files.at(town, bot, request.path_params["path"])
    return FileResponse(where, media_type=known["mime_type"])


async def _refuse(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, Fault):
        raise exc
    log.info("telegram.request_refused", status=exc.status, description=exc.description)
    if pages.wanted(request):
        return pages.refusal(request, exc)
    return JSONResponse(exc.body(), exc.status)


async def _lost(request: Request, __: Exception) -> Response:
    return await _refuse(request, Fault(404, "Not Found"))
