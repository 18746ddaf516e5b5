"""Webhook endpoints, and the sender that signs events and posts them until each is taken."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import Counter

import httpx
from pydantic import Field

from controller.core import clock, ids
from controller.core import log as logs
from controller.core.errors import foreign
from controller.sandbox.documents import Document
from controller.sandbox.stripe import deliveries, timeline
from controller.sandbox.stripe.endpoints import Endpoint
from controller.sandbox.stripe.events import API_VERSION
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Address, Listing, Metadata, Params, merged

log = logs.get(__name__)

RECEIVER_TIMEOUT_SECONDS = 10
_NOT_SENT = (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError, ValueError, ExceptionGroup)
"""An address can be bad in ways that the client does not translate, and the sender is everybody's."""
LONGEST_WAIT_SECONDS = 5.0


class EndpointCreate(Params):
    """A new endpoint."""

    url: Address
    enabled_events: list[str] = Field(min_length=1)
    api_version: str | None = None
    description: str | None = None
    metadata: Metadata | None = None


class EndpointUpdate(Params):
    """What may change on an endpoint."""

    url: Address | None = None
    enabled_events: list[str] | None = Field(default=None, min_length=1)
    disabled: bool | None = None
    description: str | None = None
    metadata: Metadata | None = None


def create(ledger: Ledger, params: EndpointCreate) -> Document:
    """The new endpoint, this once with its ``secret``."""
    if params.api_version not in (None, API_VERSION):
        raise Fault(f"Invalid Stripe API version. This stand-in speaks {API_VERSION} only.", param="api_version")
    return ledger.save(
        {
            "id": ledger.new_id("we"),
            "object": "webhook_endpoint",
            "api_version": params.api_version or API_VERSION,
            "application": None,
            "created": ledger.now(),
            "description": params.description,
            "enabled_events": params.enabled_events,
            "livemode": False,
            "metadata": params.metadata or {},
            "secret": f"whsec_{ids.secret()}",
            "status": "enabled",
            "url": params.url,
        }
    )


def list_endpoints(ledger: Ledger, params: Listing) -> Document:
    """A page of endpoints without their secrets."""
    page = ledger.page("webhook_endpoint", "/v1/webhook_endpoints", params)
    return {**page, "data": [_public(endpoint) for endpoint in page["data"]]}


def update(ledger: Ledger, params: EndpointUpdate, key: str) -> Document:
    """The endpoint with the given fields changed; a disabled one gets nothing more."""
    endpoint = ledger.live("webhook_endpoint", key)
    for name in params.model_fields_set & {"url", "enabled_events", "description"}:
        endpoint[name] = getattr(params, name)
    if "metadata" in params.model_fields_set:
        endpoint["metadata"] = merged(endpoint["metadata"], params.metadata)
    if params.disabled is not None:
        endpoint["status"] = "disabled" if params.disabled else "enabled"
    if params.disabled:
        deliveries.forget(ledger, key)
    return _public(ledger.save(endpoint))


def delete(ledger: Ledger, _: Params, key: str) -> Document:
    """The endpoint is gone and gets nothing more."""
    ledger.live("webhook_endpoint", key)
    deliveries.forget(ledger, key)
    return ledger.save({"id": key, "object": "webhook_endpoint", "deleted": True})


def roll_secret(ledger: Ledger, key: str, overlap_seconds: int) -> Document:
    """The endpoint with its new ``secret``; the old one signs as well for ``overlap_seconds``."""
    endpoint = ledger.live("webhook_endpoint", key)
    old = {"secret": endpoint["secret"], "until": clock.now().timestamp() + overlap_seconds}
    ledger.documents.put("old_secret", key, old)
    return ledger.save(endpoint | {"secret": f"whsec_{ids.secret()}"})


def signature(secrets: list[str], body: bytes, at: int) -> str:
    """The ``Stripe-Signature`` header over the raw ``body`` at Unix time ``at``, one ``v1`` for each secret."""
    signed = f"{at}.".encode() + body
    digests = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={at}", *(f"v1={digest}" for digest in digests)])


class Sender:
    """Posts what is due until the endpoint answers 2xx; what was not taken outlives a restart."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._wake = asyncio.Event()
        self._in_flight: dict[str, str] = {}

    def wake(self) -> None:
        """Look again now: something may be due."""
        self._wake.set()

    async def run(self) -> None:
        """Send for ever; also lets happen what falls due as time passes."""
        look_at = 0.0
        async with httpx.AsyncClient(timeout=RECEIVER_TIMEOUT_SECONDS) as client, asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + LONGEST_WAIT_SECONDS
                    timeline.catch_up(self._ledger)
                ready, pause = deliveries.due(self._ledger)
                for row in self._admitted(ready):
                    group.create_task(self._send(client, row))
                await self._rest(pause)

    async def _rest(self, seconds: float | None) -> None:
        limit = LONGEST_WAIT_SECONDS if seconds is None else min(seconds, LONGEST_WAIT_SECONDS)
        try:
            async with asyncio.timeout(limit):
                await self._wake.wait()
        except TimeoutError:
            return

    def _admitted(self, ready: list[Document]) -> list[Document]:
        parallel = deliveries.settings(self._ledger).parallel
        busy = Counter(self._in_flight.values())
        admitted = []
        for row in ready:
            if busy[row["endpoint"]] >= parallel or row["id"] in self._in_flight:
                continue
            busy[row["endpoint"]] += 1
            self._in_flight[row["id"]] = row["endpoint"]
            admitted.append(row)
        return admitted

    async def _send(self, client: httpx.AsyncClient, row: Document) -> None:
        started = time.monotonic()
        with self._ledger.documents.transaction():
            mishap = deliveries.take_mishap(self._ledger)
        status, error = (None, "lost on the way") if mishap == "lost_posts" else await _post(client, self._ledger, row)
        if mishap == "lost_answers":
            status, error = None, "the answer was lost"
        spent = int((time.monotonic() - started) * 1000)
        with self._ledger.documents.transaction():
            deliveries.record(self._ledger, row["id"], status=status, error=error, duration_ms=spent)
        log.info(
            "stripe.event_posted",
            delivery=row["id"],
            event_type=row["type"],
            status=status,
            error=error,
            spent_ms=spent,
        )
        del self._in_flight[row["id"]]
        self.wake()


async def _post(client: httpx.AsyncClient, ledger: Ledger, row: Document) -> tuple[int | None, str | None]:
    endpoint = ledger.get("webhook_endpoint", row["endpoint"])
    if endpoint.get("deleted"):
        return None, "endpoint deleted"
    body = json.dumps(ledger.get("event", row["event"]), indent=2).encode()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (stand-in)",
        "Stripe-Signature": signature(_secrets(ledger, endpoint), body, int(clock.now().timestamp())),
    }
    try:
        answer = await client.post(endpoint["url"], content=body, headers=headers)
    except _NOT_SENT as exc:
        return None, foreign(f"{type(exc).__name__}: {exc}")
    return answer.status_code, None


def _secrets(ledger: Ledger, endpoint: Document) -> list[str]:
    old = ledger.documents.get("old_secret", endpoint["id"])
    return [endpoint["secret"], *([old["secret"]] if old and old["until"] > clock.now().timestamp() else [])]


def _public(endpoint: Document) -> Document:
    return {name: value for name, value in endpoint.items() if name != "secret"}


def _retrieve(ledger: Ledger, _: Params, key: str) -> Document:
    return _public(ledger.live("webhook_endpoint", key))


ENDPOINTS = [
    Endpoint("POST", "/webhook_endpoints", create, EndpointCreate),
    Endpoint("GET", "/webhook_endpoints", list_endpoints, Listing),
    Endpoint("GET", "/webhook_endpoints/{id}", _retrieve),
    Endpoint("POST", "/webhook_endpoints/{id}", update, EndpointUpdate),
    Endpoint("DELETE", "/webhook_endpoints/{id}", delete),
]
