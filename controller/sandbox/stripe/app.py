"""Stripe's stand-in as a web application: the API below ``/v1``, hosted pages, control below ``/_control``."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.core import log as logs
from controller.sandbox.documents import Document, Documents
from controller.sandbox.stripe import billing, catalog, checkout, control, customers, events, links, pages, webhooks
from controller.sandbox.stripe.endpoints import Endpoint
from controller.sandbox.stripe.expansion import expand
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.forms import decode
from controller.sandbox.stripe.ledger import Call, Ledger
from controller.sandbox.stripe.params import checked

log = logs.get(__name__)

ENDPOINTS: list[Endpoint] = [
    *catalog.ENDPOINTS,
    *customers.ENDPOINTS,
    *billing.ENDPOINTS,
    *checkout.ENDPOINTS,
    *links.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *events.ENDPOINTS,
]

_SECRET_KEY = re.compile(r"sk_test_\w+")


def create_app(folder: Path) -> Starlette:
    """The application over the account kept in ``folder``; webhooks are sent while its lifespan lasts."""
    documents = Documents(folder)
    ledger = Ledger(documents)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sender = app.state.sender = webhooks.Sender(ledger)
        sending = asyncio.create_task(sender.run())
        sending.add_done_callback(_report_death)
        try:
            yield
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            documents.close()

    routes = [Route("/v1/{path:path}", _serve, methods=["GET", "POST", "DELETE"]), *pages.ROUTES, *control.ROUTES]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Fault: _refuse})
    app.state.ledger = ledger
    return app


def _report_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()):
        log.error("stripe.sender_died", exc_info=exc)


async def _serve(request: Request) -> Response:
    ledger: Ledger = request.app.state.ledger
    body = (await request.body()).decode()
    key = _authenticated(request)
    _check_version(request)
    endpoint, path_ids = _routed(request)
    given = request.headers.get("idempotency-key") if request.method == "POST" else None
    ledger.call = Call(
        base_url=str(request.base_url).rstrip("/"),
        request_id=ledger.new_id("req"),
        idempotency_key=given,
    )
    fields = body if request.method == "POST" else request.url.query
    with ledger.documents.transaction():
        status, answer, replayed = _once(ledger, endpoint, path_ids, fields, f"{key} {given}" if given else None)
    request.app.state.sender.wake()
    log.info("stripe.request_served", method=request.method, path=request.url.path, status=status)
    headers = {"Request-Id": ledger.call.request_id or "", "Stripe-Version": events.API_VERSION}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(answer, status_code=status, headers=headers)


def _once(
    ledger: Ledger, endpoint: Endpoint, path_ids: tuple[str, ...], fields: str, key: str | None
) -> tuple[int, Document, bool]:
    if key is None:
        return *_run(ledger, endpoint, path_ids, fields), False
    name = hashlib.sha256(key.encode()).hexdigest()
    request = [endpoint.method, endpoint.path, list(path_ids), fields]
    earlier = ledger.documents.get("idempotency", name)
    if earlier is None:
        status, answer = _run(ledger, endpoint, path_ids, fields)
        # A request refused for its parameters raised and is not remembered, as at Stripe.
        ledger.documents.put("idempotency", name, {"request": request, "status": status, "answer": answer})
        return status, answer, False
    if earlier["request"] != request:
        raise Fault(
            "Keys for idempotent requests can only be used with the same parameters they were first used with.",
            type="idempotency_error",
        )
    return earlier["status"], earlier["answer"], True


def _run(ledger: Ledger, endpoint: Endpoint, path_ids: tuple[str, ...], fields: str) -> tuple[int, Document]:
    params = checked(endpoint.params, decode(fields))
    try:
        answer = endpoint.handler(ledger, params, *path_ids)
    except Fault as fault:
        if not fault.keeps:
            raise
        return fault.status, fault.body()
    return 200, expand(ledger, answer, params.expand)


def _authenticated(request: Request) -> str:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            given = base64.b64decode(given).decode().partition(":")[0]
    if not given:
        raise Fault(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using"
            " Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            status=401,
        )
    if not _SECRET_KEY.fullmatch(given):
        raise Fault(f"Invalid API Key provided: {given[:4]}****{given[-4:]}", status=401)
    return given


def _check_version(request: Request) -> None:
    version = request.headers.get("stripe-version", events.API_VERSION)
    if version != events.API_VERSION:
        raise Fault(f"Invalid Stripe API version: {version[:64]}. This stand-in speaks {events.API_VERSION} only.")


def _routed(request: Request) -> tuple[Endpoint, tuple[str, ...]]:
    path = "/" + request.path_params["path"].rstrip("/")
    for endpoint in ENDPOINTS:
        pattern = endpoint.path.replace("{id}", "([^/]+)")
        found = re.fullmatch(pattern, path) if endpoint.method == request.method else None
        if found:
            return endpoint, found.groups()
    raise Fault(f"Unrecognized request URL ({request.method}: /v1{path[:128]}).", status=404)


async def _refuse(_: Request, exc: Exception) -> Response:
    if not isinstance(exc, Fault):
        raise exc
    log.info("stripe.request_refused", status=exc.status, error=json.dumps(exc.error))
    return JSONResponse(exc.body(), status_code=exc.status)
