"""The token proxy: one door in front of every model. Checks the token, forwards the bytes, measures what came back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import asyncpg
import orjson
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from controller.core import failpoints, metrics
from controller.core import log as logs
from controller.core.errors import CloudError
from controller.core.settings import DatabaseSettings, QueueSettings, TokenSettings, load
from proxy import body, errors, limits, naming
from proxy.calls import Call
from proxy.desk import Desk, opened
from proxy.gate import UsedUp
from proxy.guesses import address_of
from proxy.reading import Reader
from proxy.settings import LedgerSettings, ProxySettings
from proxy.stream import Relay, Whole, first_chunk, unless_left
from proxy.upstream import Upstream
from proxy.verdicts import Token, shown

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


class Proxy:
    """One process's proxy."""

    def __init__(
        self, settings: ProxySettings, pepper: str, upstream: Upstream, desk: Desk, pool: asyncpg.Pool
    ) -> None:
        self._settings = settings
        self._pepper = pepper
        self._upstream = upstream
        self._desk = desk
        self._pool = pool
        self._counters = _counters()

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``: the upstream's answer, measured; our errors in OpenAI's form."""
        try:
            response = await self._chat(request)
        except CloudError as error:
            if error.status >= 500:
                log.warning("proxy.failed", request_id=naming.of(request), error=str(error))
            response = errors.answer(error)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_LEFT)
        self._counters.requests.labels(response.status_code).inc()
        return response

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``: the public names."""
        try:
            await self._token(request)
        except CloudError as error:
            return errors.answer(error)
        listed = [{"id": name, "object": "model", "owned_by": "openclaw-cloud"} for name in self._settings.llm_models]
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

    async def _token(self, request: Request) -> Token:
        token = shown(request.headers.get("authorization", ""), self._pepper)
        await self._desk.gate.check(token, address_of(request, self._settings.trusted_proxies))
        return token

    async def _chat(self, request: Request) -> Response:
        token = await self._token(request)
        prepared = body.prepare(await body.read(request), self._settings)
        request_id = naming.of(request)
        try:
            admission = await self._desk.gate.admit(token, request_id, prepared)
        except UsedUp as refused:
            return limits.answer(request_id, refused, prepared)
        failpoints.hit("proxy.admitted")
        reader = Reader(hide_usage=prepared.hide_usage)
        call = Call(token, admission, reader, self._settings.terms(prepared.model), self._desk.books)
        self._desk.calls.add(call)
        content, stream = prepared.content(admission.output_cap), prepared.stream
        del prepared  # what the body took is free while the answer streams
        try:
            response = await unless_left(request.receive, self._forward(call, content, stream=stream), call.cut)
        except BaseException:
            self._ended(call)
            raise
        if not isinstance(response, Relay | Whole):
            self._ended(call)
        limits.warn(response, admission.used)
        return response

    async def _forward(self, call: Call, content: bytes, *, stream: bool) -> Response:
        start = time.perf_counter()
        answer = await self._upstream.ask(content)
        self._counters.seconds.observe(time.perf_counter() - start)
        if not stream or answer.status >= 400:
            return await self._whole(call, answer)
        try:
            first = await first_chunk(answer, call.reader)
            if first:
                await call.begin()
        except BaseException:
            answer.close()
            raise
        return Relay(answer, first, _kept(answer), call, self._settings.upstream_timeout, partial(self._ended, call))

    async def _whole(self, call: Call, answer: aiohttp.ClientResponse) -> Response:
        content = await self._upstream.whole(answer)
        if answer.status >= 400:
            return Response(self._upstream.without_key(content), answer.status, _kept(answer))
        call.reader.whole(content)
        call.reader.passing()
        await call.begin(known=True)
        return Whole(content, answer.status, _kept(answer), call, partial(self._ended, call))

    def _ended(self, call: Call) -> None:
        """The call is usage, unless no byte of its answer went out."""
        self._desk.calls.discard(call)
        call.end()
        if call.measured is not None:
            self._counters.tokens.labels("input").inc(call.measured.input_tokens)
            self._counters.tokens.labels("output").inc(call.measured.output_tokens)


def create(
    settings: ProxySettings, database: DatabaseSettings, queue: QueueSettings, tokens: TokenSettings,
    ledger: LedgerSettings,
) -> Starlette:  # fmt: skip
    """The application; its connections live as long as it does."""
    handlers: dict[Any, Any] = {HTTPException: _no_route}
    app = Starlette(middleware=[Middleware(naming.Naming)], exception_handlers=handlers)
    pepper = tokens.token_pepper.get_secret_value()

    @contextlib.asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        dsn = database.postgres_dsn.get_secret_value()
        # no connection at the start: a proxy that starts while Postgres is away is unready, not dead
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=POSTGRES_CONNECTIONS, timeout=5, command_timeout=5)
        async with opened(settings, dsn, queue, ledger, pool) as desk, Upstream(settings) as upstream:
            _mount(app, Proxy(settings, pepper, upstream, desk, pool))
            yield
        pool.terminate()

    app.router.lifespan_context = life
    return app


def run() -> None:
    """Serve until stopped; settings come from the environment."""
    logs.configure("proxy")
    settings = load(ProxySettings)
    app = create(settings, load(DatabaseSettings), load(QueueSettings), load(TokenSettings), load(LedgerSettings))
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


async def _no_route(_: Request, error: HTTPException) -> Response:
    return errors.answer(errors.NoSuchRoute("route_unknown", status=error.status_code))


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: answer.headers[name] for name in ("content-type", "retry-after") if name in answer.headers}


def _counters() -> Counters:
    registry = metrics.registry()
    return Counters(
        registry=registry,
        requests=Counter("proxy_requests", "Answers by status", ["status"], registry=registry),
        tokens=Counter("proxy_tokens", "Tokens measured", ["direction"], registry=registry),
        seconds=Histogram("proxy_upstream_seconds", "Time to the upstream's headers", registry=registry),
    )
