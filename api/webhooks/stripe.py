"""Stripe's door: verify the raw bytes, store once, answer. No business here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from api.deps import Given
from controller.clients import stripe
from controller.core import failpoints
from controller.core import log as logs
from controller.core.errors import Refused
from controller.domain import bells, inbox

log = logs.get(__name__)

MAX_BYTES = 1_000_000
router = APIRouter()


class EventTooLarge(Refused):
    """Raised when a body is over ``MAX_BYTES``; Stripe's largest events are far below."""

    status = 413


@router.post("/webhooks/stripe", status_code=204)
async def receive(request: Request, given: Given, stripe_signature: Annotated[str, Header()] = "") -> Response:
    """204 once the event is durably stored, also when it was before; 400 if Stripe did not sign it."""
    body = await _read(request)
    event = stripe.verify(body, stripe_signature, given.settings.stripe_webhook_secret)
    failpoints.hit("inbox.verified")
    async with given.database.transaction() as session:
        new = await inbox.put(session, inbox.STRIPE, event.id, event.kind, event.payload)
    failpoints.hit("inbox.stored")
    log.info("inbox.stored", event_id=event.id, kind=event.kind, new=new)
    if new:
        await given.bell.ring(bells.EVENT, event.id)
    return Response(status_code=204)


async def _read(request: Request) -> bytes:
    """The raw body, read no further than the limit: whoever sends it is not known yet."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise EventTooLarge("event_too_large")
    return bytes(body)
