"""Requests to the API: authenticated, matched with an endpoint, run once for an idempotency key, answered."""

from __future__ import annotations

import asyncio
import base64
import re
from contextlib import suppress
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from controller.core import log as logs
from controller.sandbox.documents import Document
from controller.sandbox.stripe import (
    billing,
    catalog,
    checkout,
    clocks,
    coupons,
    customers,
    disputes,
    events,
    idempotency,
    invoicing,
    links,
    payments,
    portal,
    refunds,
    schedules,
    webhooks,
)  # fmt: skip
from controller.sandbox.stripe.endpoints import Endpoint
from controller.sandbox.stripe.expansion import expand
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.forms import decode
from controller.sandbox.stripe.idempotency import Claim
from controller.sandbox.stripe.ledger import Call, Ledger
from controller.sandbox.stripe.params import checked
from controller.sandbox.stripe.travel import Trouble

log = logs.get(__name__)

ENDPOINTS: list[Endpoint] = [
    endpoint
    for module in (
        catalog, customers, billing, invoicing, payments, refunds, disputes, coupons, schedules, checkout, links,
        portal, webhooks, events, clocks,
    )
    for endpoint in module.ENDPOINTS
]  # fmt: skip

_SECRET_KEY = re.compile(r"sk_test_\w+")


@dataclass(frozen=True)
class _Work:
    endpoint: Endpoint
    path_ids: tuple[str, ...]
    fields: str
    claim: Claim | None


class _Cut(Response):
    """No answer: the connection ends in the middle of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


async def serve(request: Request) -> Response:
    """Answer a request to the API as Stripe would. Raises Fault."""
    ledger: Ledger = request.app.state.ledger
    body = (await request.body()).decode()
    key = _authenticated(request)
    _check_version(request)
    endpoint, path_ids = _routed(request)
    given = request.headers.get("idempotency-key") if request.method == "POST" else None
    fields = body if request.method == "POST" else request.url.query
    shape: list[object] = [endpoint.method, endpoint.path, list(path_ids), fields]
    work = _Work(endpoint, path_ids, fields, idempotency.claim(key, given, shape) if given else None)
    cut = await _suffer(ledger, request, work)
    call = Call(base_url=str(request.base_url).rstrip("/"), request_id=ledger.new_id("req"), idempotency_key=given)
    status, answer, replayed = _do(ledger, call, work)
    request.app.state.sender.wake()
    log.info("stripe.request_served", method=request.method, path=request.url.path, status=status)
    headers = {"Request-Id": call.request_id or "", "Stripe-Version": events.API_VERSION}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    if status == 402:
        headers["Stripe-Should-Retry"] = "false"
    return _Cut() if cut else JSONResponse(answer, status_code=status, headers=headers)


async def _suffer(ledger: Ledger, request: Request, work: _Work) -> bool:
    """Whatever trouble was ordered happens to the request now; True if its answer is to be lost."""
    busy: set[str] = request.app.state.in_progress
    name = work.claim.name if work.claim else None
    if name in busy:
        raise idempotency.busy()
    trouble = Trouble.model_validate(ledger.documents.get("trouble", "only") or {})
    if trouble.delay_ms:
        if name:
            busy.add(name)
        try:
            await asyncio.sleep(trouble.delay_ms / 1000)
        finally:
            busy.discard(name or "")
        trouble = Trouble.model_validate(ledger.documents.get("trouble", "only") or {})
    for kind in ("fail", "limit", "lose_answers"):
        if getattr(trouble, kind) and (kind != "lose_answers" or request.method == "POST"):
            left = trouble.model_copy(update={kind: getattr(trouble, kind) - 1})
            ledger.documents.put("trouble", "only", left.model_dump())
            if kind == "lose_answers":
                return True
            raise _failed() if kind == "fail" else _limited()
    return False


def _failed() -> Fault:
    return Fault("An unknown error occurred", status=500, type="api_error")


def _limited() -> Fault:
    return Fault(
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        status=429,
        code="rate_limit",
    )


def _do(ledger: Ledger, call: Call, work: _Work) -> tuple[int, Document, bool]:
    try:
        with ledger.documents.transaction():
            ledger.begin(call)
            return _once(ledger, work)
    except Fault as fault:
        # A refused card undoes everything and is remembered; a request refused for its parameters is not.
        if fault.status == 402 and work.claim:
            idempotency.remember(ledger, work.claim, fault.status, fault.body())
        raise


def _once(ledger: Ledger, work: _Work) -> tuple[int, Document, bool]:
    if work.claim is None:
        return *_run(ledger, work), False
    if (earlier := idempotency.earlier_answer(ledger, work.claim)) is not None:
        return *earlier, True
    status, answer = _run(ledger, work)
    # In the transaction of the work itself: a kill leaves both or neither.
    idempotency.remember(ledger, work.claim, status, answer)
    return status, answer, False


def _run(ledger: Ledger, work: _Work) -> tuple[int, Document]:
    params = checked(work.endpoint.params, decode(work.fields))
    try:
        answer = work.endpoint.handler(ledger, params, *work.path_ids)
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
