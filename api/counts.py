"""How a web application of ours answers, as Prometheus sees it: by route, method and status, never by an id."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram

from controller.core import metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that the metrics tell apart; a caller may send any word as one."""


def install(app: FastAPI, name: str) -> CollectorRegistry:
    """Each answer of ``app`` counts as ``<name>_requests_total`` and ``<name>_request_seconds``; return its registry.

    An error that nobody knows is a 500 there, as it is for the caller. ``/metrics`` shows it and the process's own.
    """
    registry = CollectorRegistry()
    requests = Counter(f"{name}_requests", "Requests answered", ["route", "method", "status"], registry=registry)
    seconds = Histogram(f"{name}_request_seconds", "Time to the answer", ["route"], registry=registry)

    @app.middleware("http")
    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        start, status = time.perf_counter(), 500
        try:
            response = await call_next(request)
            status = response.status_code
            return response
        finally:
            route = getattr(request.scope.get("route"), "path", "unknown")
            method = request.method if request.method in METHODS else "other"
            requests.labels(route, method, status).inc()
            seconds.labels(route).observe(time.perf_counter() - start)

    @app.get("/metrics")
    async def shown() -> Response:
        """Prometheus' text format."""
        content, media_type = metrics.page(registry)
        return Response(content, media_type=media_type)

    return registry
