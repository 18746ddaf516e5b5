"""The API as one application. One folder per audience, so the folder is the security boundary."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from prometheus_client import Counter, Histogram
from sqlalchemy import text

from api import errors
from api.admin import connections, rollouts, stoppages
from api.admin import routes as admin
from api.agent import routes as agent
from api.deps import Parts
from api.onboarding import drafts
from api.webhooks import stripe
from controller.core import metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that the metrics tell apart; a caller may send any word as one."""


def create(parts: Parts) -> FastAPI:
    """The application over ``parts``."""
    app = FastAPI(title="openclaw-cloud", version="0.1.0")
    app.state.parts = parts
    errors.install(app)
    _measure(app)
    for_ops = (stoppages.router, admin.router, connections.router, rollouts.router)
    for router in (stripe.router, drafts.router, agent.router, *for_ops):
        app.include_router(router)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """200 while the process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """200 while Postgres answers too; 503 otherwise."""
        async with parts.database.transaction() as session:
            await session.execute(text("SELECT 1"))
        return {"status": "ready"}

    return app


def _measure(app: FastAPI) -> None:
    registry = metrics.registry()
    requests = Counter("api_requests", "Requests answered", ["route", "method", "status"], registry=registry)
    seconds = Histogram("api_request_seconds", "Time to the answer", ["route"], registry=registry)

    @app.middleware("http")
    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        start = time.perf_counter()
        response = await call_next(request)
        route = getattr(request.scope.get("route"), "path", "unknown")
        method = request.method if request.method in METHODS else "other"
        requests.labels(route, method, response.status_code).inc()
        seconds.labels(route).observe(time.perf_counter() - start)
        return response

    @app.get("/metrics")
    async def shown() -> Response:
        """Prometheus' text format."""
        content, media_type = metrics.page(registry)
        return Response(content, media_type=media_type)
