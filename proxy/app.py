"""The token proxy: one door in front of every model. Checks the token, forwards the bytes, measures what came back."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import asyncpg
import orjson
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from controller.core import failpoints, metrics
from controller.core import log as logs
from controller.core.errors import CloudError
from controller.core.settings import DatabaseSettings, QueueSettings, TokenSettings, load
from proxy import body, contexts, dialects, errors, limits, naming
from proxy.body import Prepared
from proxy.calls import Call
from proxy.catalog import Model
from proxy.desk import Desk, opened
from proxy.dialects import Dialect
from proxy.doors import Door
from proxy.errors import ModelNotAllowed
from proxy.gate import Admission, UsedUp
from proxy.guesses import address_of
from proxy.leaving import Connection, unless_left
from proxy.postgres import LOST
from proxy.routes import Route as ProviderRoute
from proxy.routes import Routes, plan
from proxy.settings import LedgerSettings, ProxySettings
from proxy.stream import Relay, Whole, first_chunk
from proxy.upstream import Answer, Ask, Upstream
from proxy.verdicts import Token, shown

log = logs.get(__name__)

POSTGRES_CONNECTIONS = 8
ANTHROPICS = ("anthropic-version", "anthropic-beta")
"""Headers without which a call to Anthropic is none, or another."""

MOST_SHOWN = 4096
"""Tokens whose reading is remembered: they are in memory anyhow while they call, and they call again and again."""

YOUNG_OBJECTS = 20_000
"""How many there may be before a collection. Python's 700 are a few calls, whose objects mostly die by themselves."""

CLIENT_LEFT = 499
"""What the metrics show for a client that left before the answer began."""


@dataclass(frozen=True)
class Counters:
    """What ``/metrics`` shows."""

    registry: CollectorRegistry
    requests: Counter
    input: Counter
    output: Counter
    seconds: Histogram
    breakers: Gauge


class Proxy:
    """One process's proxy."""

    def __init__(
        self, settings: ProxySettings, routes: Routes, pepper: str, upstream: Upstream, desk: Desk, pool: asyncpg.Pool
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._shown = lru_cache(MOST_SHOWN)(partial(shown, pepper=pepper))
        self._upstream = upstream
        self._desk = desk
        self._pool = pool
        self._counters = _counters()

    async def answer(self, request: Request, dialect: Dialect) -> Response:
        """``POST`` to an endpoint of the models: the upstream's answer, measured; our errors in the endpoint's form."""
        status = 500  # what the server answers, and logs, where an error escapes that nobody foresaw
        try:
            response = await self._told(request, dialect)
            status = response.status_code
        finally:
            self._counters.requests.labels(status).inc()
        return response

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``: the public names that the customer's plan has."""
        try:
            verdict = await self._desk.gate.verdict(*self._caller(request))
        except CloudError as error:
            return errors.answer(error)
        catalog = self._routes.catalog
        listed = [_listed(name, catalog.models[name]) for name in catalog.of_plan(verdict.plan)]
        return Response(orjson.dumps({"object": "list", "data": listed}), media_type="application/json")

    async def healthz(self, _: Request) -> Response:
        """200 while the process answers."""
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def readyz(self, _: Request) -> Response:
        """200 while tokens can be checked; 503 otherwise."""
        try:
            async with asyncio.timeout(2):
                await self._pool.fetchval("SELECT 1")
        except LOST:
            return Response(b'{"status":"database away"}', 503, media_type="application/json")
        return Response(b'{"status":"ready"}', media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """Prometheus' text format."""
        for provider, is_failing in self._upstream.failing().items():
            self._counters.breakers.labels(provider).set(is_failing)
        return Response(generate_latest(self._counters.registry), media_type=CONTENT_TYPE_LATEST)

    def _caller(self, request: Request) -> tuple[Token, Callable[[], str]]:
        """The token that is shown, as OpenAI's clients do or as Anthropic's, and what tells from where."""
        given = request.headers.get("authorization")
        if not given and (key := request.headers.get("x-api-key")):
            given = f"Bearer {key}"
        return self._shown(given or ""), partial(address_of, request, self._settings.trusted_proxies)

    async def _told(self, request: Request, dialect: Dialect) -> Response:
        try:
            return await self._answer(request, dialect)
        except CloudError as error:
            if error.status >= 500:
                log.warning("proxy.failed", request_id=naming.of(request), error=str(error))
            return dialect.error(error)
        except ClientDisconnect:
            return Response(status_code=CLIENT_LEFT)

    async def _answer(self, request: Request, dialect: Dialect) -> Response:
        token, address = self._caller(request)
        await self._desk.gate.check(token, address)
        prepared = body.prepare(await body.read(request), self._routes, dialect)
        request_id = naming.of(request)
        try:
            admission = await self._desk.gate.admit(token, request_id, prepared)
        except UsedUp as refused:
            return limits.answer(request_id, refused, prepared)
        failpoints.hit("proxy.admitted")
        prices = self._routes.catalog.models[prepared.model].prices
        call = Call(token, admission, dialect.reader(hide_usage=prepared.hide_usage), prices, self._desk.books)
        self._desk.calls.add(call)
        try:
            ask = await self._ask(admission, prepared, _along(request, dialect))
            del prepared  # what the body took is free while the answer streams
            response = await unless_left(request.scope, self._forward(call, ask, dialect), call.cut)
        except BaseException:
            self._ended(call)
            raise
        if not isinstance(response, Relay | Whole):
            self._ended(call)
        limits.warn(response, admission.used)
        return response

    async def _ask(self, admission: Admission, prepared: Prepared, headers: dict[str, str]) -> Ask:
        """What goes upstream. Raises ModelNotAllowed, ContextExceeded."""
        verdict = admission.verdict
        if not self._routes.catalog.offered(prepared.model, verdict.plan):
            raise ModelNotAllowed("model_not_allowed", model=prepared.model, plan=verdict.plan)
        endpoint = prepared.dialect.endpoint
        fit = await contexts.fit(prepared, self._routes.to(prepared.model, endpoint), self._desk.counter)

        def content(route: ProviderRoute) -> bytes:
            return prepared.content(fit.cap(route, admission.output_cap), route)

        return Ask(fit.routes, endpoint, content, stream=prepared.stream, who=verdict.customer_id, headers=headers)

    async def _forward(self, call: Call, ask: Ask, dialect: Dialect) -> Response:
        start = time.perf_counter()
        answer = await self._upstream.ask(ask)
        self._counters.seconds.observe(time.perf_counter() - start)
        call.prices = answer.route.model.prices
        if not ask.stream or answer.status >= 400:
            return await self._whole(call, answer)
        try:
            first = await first_chunk(answer, call.reader)
            if first:
                await call.begin()
        except BaseException:
            answer.close()
            raise
        longest, ended = self._settings.upstream_timeout, partial(self._ended, call)
        return Relay(answer, first, _kept(answer), call, longest, dialect.event, ended)

    async def _whole(self, call: Call, answer: Answer) -> Response:
        answer.close()
        if answer.status >= 400:
            return Response(self._upstream.without_key(answer.arrived), answer.status, _kept(answer))
        call.reader.whole(answer.arrived)
        call.reader.passing()
        await call.begin(known=True)
        return Whole(answer.arrived, answer.status, _kept(answer), call, partial(self._ended, call))

    def _ended(self, call: Call) -> None:
        """The call is usage, unless no byte of its answer went out."""
        self._desk.calls.discard(call)
        call.end()
        if call.measured is not None:
            self._counters.input.inc(call.measured.input_tokens)
            self._counters.output.inc(call.measured.output_tokens)


def create(
    settings: ProxySettings, database: DatabaseSettings, queue: QueueSettings, tokens: TokenSettings,
    ledger: LedgerSettings,
) -> Starlette:  # fmt: skip
    """The application; its connections live as long as it does."""
    handlers: dict[Any, Any] = {HTTPException: errors.no_route}
    routes = plan(settings)
    app = Door(exception_handlers=handlers)
    pepper = tokens.token_pepper.get_secret_value()

    @contextlib.asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        dsn = database.postgres_dsn.get_secret_value()
        # no connection at the start: a proxy that starts while Postgres is away is unready, not dead
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=POSTGRES_CONNECTIONS, timeout=5, command_timeout=5)
        async with opened(settings, dsn, queue, ledger, pool) as desk, Upstream(settings, routes) as upstream:
            _mount(app, Proxy(settings, routes, pepper, upstream, desk, pool))
            yield
        pool.terminate()

    app.router.lifespan_context = life
    return app


def run() -> None:
    """Serve until stopped; settings come from the environment."""
    logs.configure("proxy")
    settings = load(ProxySettings)
    app = create(settings, load(DatabaseSettings), load(QueueSettings), load(TokenSettings), load(LedgerSettings))
    gc.set_threshold(YOUNG_OBJECTS)
    gc.freeze()  # what was loaded so far stays: collections need not look through it again and again
    uvicorn.run(
        app,
        host=settings.proxy_host,
        port=settings.proxy_port,
        loop="uvloop",
        http=Connection,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # whose word is taken for an address, the settings say
        timeout_keep_alive=75,  # longer than common clients keep idle connections, so that they close first
        timeout_graceful_shutdown=30,
    )


def _mount(app: Door, proxy: Proxy) -> None:
    endpoints = {f"/v1/{one.endpoint}": partial(proxy.answer, dialect=one) for one in dialects.ALL}
    app.straight = endpoints
    app.router.routes[:] = [
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()),
        Route("/v1/models", proxy.models),
        Route("/healthz", proxy.healthz),
        Route("/readyz", proxy.readyz),
        Route("/metrics", proxy.metrics),
    ]


def _listed(name: str, model: Model) -> dict[str, Any]:
    """As OpenAI lists it, and how much it can read where that is known, which clients look for."""
    known = {} if model.context_tokens is None else {"context_length": model.context_tokens}
    return {"id": name, "object": "model", "created": 0, "owned_by": "openclaw-cloud", **known}


def _along(request: Request, dialect: Dialect) -> dict[str, str]:
    """What of the request's headers the provider must know."""
    wanted = ANTHROPICS if dialect is dialects.MESSAGES else ()
    return {name: request.headers[name] for name in wanted if name in request.headers}


def _kept(answer: Answer) -> dict[str, str]:
    return {name: answer.headers[name] for name in ("content-type", "retry-after") if name in answer.headers}


def _counters() -> Counters:
    registry = metrics.registry()
    tokens = Counter("proxy_tokens", "Tokens measured", ["direction"], registry=registry)
    return Counters(
        registry=registry,
        requests=Counter("proxy_requests", "Answers by status", ["status"], registry=registry),
        input=tokens.labels("input"),
        output=tokens.labels("output"),
        seconds=Histogram("proxy_upstream_seconds", "Time to the upstream's first bytes", registry=registry),
        breakers=Gauge("proxy_breaker_open", "1: last seen failing, so asked last", ["provider"], registry=registry),
    )
