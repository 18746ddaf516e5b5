"""The token proxy: one door in front of every model. Checks the token, forwards the bytes, measures what came back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg
import orjson
import redis.asyncio as redis
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from controller.core import log as logs
from controller.core import metrics
from controller.core.errors import CloudError
from controller.core.settings import DatabaseSettings, QueueSettings, TokenSettings, load
from proxy import body, errors, limits, meter, naming
from proxy.auth import Doorkeeper
from proxy.body import Prepared
from proxy.catalog import Endpoint
from proxy.meter import Meter
from proxy.reading import Reader
from proxy.routes import Routes, plan
from proxy.settings import ProxySettings
from proxy.stream import Relay, Whole, unless_left
from proxy.upstream import Answer, Ask, Upstream

log = logs.get(__name__)

POSTGRES_CONNECTIONS = 8
CLIENT_LEFT = 499
"""What the metrics show for a client that left before the answer began."""


@dataclass(frozen=True)
class Counters:
    """What ``/metrics`` shows."""

    registry: CollectorRegistry
    requests: Counter
    tokens: Counter
    seconds: Histogram


@dataclass(frozen=True)
class Call:
    """One admitted request on its way. ``prompt_bytes`` is the size of the client's body."""

    request_id: str
    box_id: str
    prepared: Prepared
    prompt_bytes: int
    reader: Reader


class Proxy:
    """One process's proxy."""

    def __init__(
        self,
        settings: ProxySettings,
        routes: Routes,
        door: Doorkeeper,
        upstream: Upstream,
        used: Meter,
        pool: asyncpg.Pool,
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._door = door
        self._upstream = upstream
        self._meter = used
        self._pool = pool
        self._counters = _counters()

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``: the upstream's answer, measured; our errors in OpenAI's form."""
        request_id = naming.of(request)
        try:
            admitted = await self._door.admit(request.headers.get("authorization", ""))
            raw = await body.read(request)
            prepared = body.prepare(raw, self._routes.catalog, admitted.allowance.plan)
            if admitted.allowance.used_up():
                response = limits.answer(request_id, admitted.allowance, prepared)
            else:
                call = Call(request_id, admitted.box_id, prepared, len(raw), Reader(hide_usage=prepared.hide_usage))
                response = await unless_left(request.receive, self._forward(call))
        except CloudError as error:
            if error.status >= 500:
                log.warning("proxy.failed", request_id=request_id, error=str(error))
            response = errors.answer(error)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_LEFT)
        self._counters.requests.labels(response.status_code).inc()
        return response

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``: the public names that the customer's plan has."""
        try:
            admitted = await self._door.admit(request.headers.get("authorization", ""))
        except CloudError as error:
            return errors.answer(error)
        names = self._routes.catalog.of_plan(admitted.allowance.plan)
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "openclaw-cloud"} for name in names]
        return Response(orjson.dumps({"object": "list", "data": listed}), media_type="application/json")

    async def healthz(self, _: Request) -> Response:
        """200 while the process answers."""
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def readyz(self, _: Request) -> Response:
        """200 while tokens can be checked; 503 otherwise."""
        try:
            async with asyncio.timeout(2):
                await self._pool.fetchval("SELECT 1")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return Response(b'{"status":"database away"}', 503, media_type="application/json")
        return Response(b'{"status":"ready"}', media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """Prometheus' text format."""
        return Response(generate_latest(self._counters.registry), media_type=CONTENT_TYPE_LATEST)

    async def _forward(self, call: Call) -> Response:
        start = time.perf_counter()
        prepared = call.prepared
        routes = self._routes.to(prepared.model, Endpoint.CHAT)
        ask = Ask(routes, Endpoint.CHAT, prepared.content, stream=prepared.stream, who=call.box_id)
        answer = await self._upstream.ask(ask)
        self._counters.seconds.observe(time.perf_counter() - start)
        if call.prepared.stream and answer.status < 400:
            finished = partial(self._note, call)
            return Relay(answer, call.reader, _kept(answer), finished, self._settings.upstream_timeout)
        content = await self._upstream.whole(answer)
        if answer.status >= 400:
            return Response(self._upstream.without_key(content), answer.status, _kept(answer))
        call.reader.whole(content)
        return Whole(content, answer.status, _kept(answer), partial(self._sent, call))

    def _sent(self, call: Call) -> None:
        call.reader.sent()
        self._note(call)

    def _note(self, call: Call) -> None:
        """Measure the call, unless no byte of its answer went out."""
        if not call.reader.delivered:
            return
        measured = meter.measure(call.request_id, call.box_id, call.prepared.model, call.prompt_bytes, call.reader)
        self._counters.tokens.labels("input").inc(measured.input_tokens)
        self._counters.tokens.labels("output").inc(measured.output_tokens)
        self._meter.put(measured)


def create(
    settings: ProxySettings,
    database: DatabaseSettings,
    queue: QueueSettings,
    tokens: TokenSettings,
    clock: Callable[[], float] = time.monotonic,
) -> Starlette:
    """The application; its connections live as long as it does. ``clock`` (seconds) ages what is known of tokens."""
    handlers: dict[Any, Any] = {HTTPException: _no_route}
    routes = plan(settings)
    app = Starlette(middleware=[Middleware(naming.Naming)], exception_handlers=handlers)

    @contextlib.asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        dsn = database.postgres_dsn.get_secret_value()
        # no connection at the start: a proxy that starts while Postgres is away is unready, not dead
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=POSTGRES_CONNECTIONS, timeout=5, command_timeout=5)
        stream = _stream(queue)
        used = Meter(stream, pool)
        handing_on = asyncio.create_task(used.run())
        async with Upstream(settings, routes) as upstream:
            door = Doorkeeper(pool, tokens.token_pepper.get_secret_value(), clock)
            _mount(app, Proxy(settings, routes, door, upstream, used, pool))
            yield
        await used.drain()
        handing_on.cancel()
        await asyncio.gather(handing_on, return_exceptions=True)
        await stream.aclose()
        pool.terminate()

    app.router.lifespan_context = life
    return app


def run() -> None:
    """Serve until stopped; settings come from the environment."""
    logs.configure("proxy")
    settings = load(ProxySettings)
    app = create(settings, load(DatabaseSettings), load(QueueSettings), load(TokenSettings))
    uvicorn.run(
        app,
        host=settings.proxy_host,
        port=settings.proxy_port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,  # longer than common clients keep idle connections, so that they close first
        timeout_graceful_shutdown=30,
    )


def _mount(app: Starlette, proxy: Proxy) -> None:
    app.router.routes[:] = [
        Route("/v1/chat/completions", proxy.chat, methods=["POST"]),
        Route("/v1/models", proxy.models),
        Route("/healthz", proxy.healthz),
        Route("/readyz", proxy.readyz),
        Route("/metrics", proxy.metrics),
    ]


def _stream(queue: QueueSettings) -> redis.Redis:
    # one try more, for a connection that went stale; the rest of the patience is the meter's
    url = queue.queue_redis_url.get_secret_value()
    return redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1))


async def _no_route(_: Request, error: HTTPException) -> Response:
    return errors.answer(errors.NoSuchRoute("route_unknown", status=error.status_code))


def _kept(answer: Answer) -> dict[str, str]:
    return {name: answer.headers[name] for name in ("content-type", "retry-after") if name in answer.headers}


def _counters() -> Counters:
    registry = metrics.registry()
    return Counters(
        registry=registry,
        requests=Counter("proxy_requests", "Answers by status", ["status"], registry=registry),
        tokens=Counter("proxy_tokens", "Tokens measured", ["direction"], registry=registry),
        seconds=Histogram("proxy_upstream_seconds", "Time to the upstream's headers", registry=registry),
    )
