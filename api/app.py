"""The API as one application. One folder per audience, so the folder is the security boundary."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from sqlalchemy import text

from api import errors
from api.admin import routes as admin
from api.agent import routes as agent
from api.deps import Parts
from api.onboarding import drafts
from api.webhooks import stripe


def create(parts: Parts) -> FastAPI:
    """The application over ``parts``."""
    app = FastAPI(title="openclaw-cloud", version="0.1.0")
    app.state.parts = parts
    errors.install(app)
    _measure(app)
    for router in (stripe.router, drafts.router, agent.router, admin.router):
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
    registry = CollectorRegistry()
    requests = Counter("api_requests", "Requests answered", ["route", "method", "status"], registry=registry)
    seconds = Histogram("api_request_seconds", "Time to the answer", ["route"], registry=registry)

    @app.middleware("http")
    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        start = time.perf_counter()
        response = await call_next(request)
        route = getattr(request.scope.get("route"), "path", "unknown")
        requests.labels(route, request.method, response.status_code).inc()
        seconds.labels(route).observe(time.perf_counter() - start)
        return response

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
