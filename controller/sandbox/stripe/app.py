"""Stripe's stand-in as a web application: the API below ``/v1``, hosted pages, control below ``/_control``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from controller.core import log as logs
from controller.sandbox.beside import beside
from controller.sandbox.documents import Documents
from controller.sandbox.stripe import control, pages, portal_pages, requests, webhooks
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.looks import render

log = logs.get(__name__)


def create_app(folder: Path) -> Starlette:
    """The application over the account kept in ``folder``; webhooks are sent while its lifespan lasts."""
    documents = Documents(folder)
    ledger = Ledger(documents)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sender = app.state.sender = webhooks.Sender(ledger)
        try:
            async with beside(sender.run(), "the sender of events"):
                yield
        finally:
            documents.close()

    routes = [
        Route("/v1/{path:path}", requests.serve, methods=["GET", "POST", "DELETE"]),
        *pages.ROUTES,
        *portal_pages.ROUTES,
        *control.ROUTES,
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Fault: _refuse})
    app.state.ledger = ledger
    app.state.in_progress = set[str]()
    return app


async def _refuse(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, Fault):
        raise exc
    log.info("stripe.request_refused", status=exc.status, error=json.dumps(exc.error))
    if request.url.path.startswith(("/v1/", "/_control/")):
        headers = {"Stripe-Should-Retry": "true" if exc.status in (409, 429, 500) else "false"}
        return JSONResponse(exc.body(), status_code=exc.status, headers=headers)
    page = render("message.html", title=exc.error["message"], locale="en")
    return HTMLResponse(page, status_code=exc.status)
