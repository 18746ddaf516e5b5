"""Stripe's door: verify the raw bytes, store once, answer. No business here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from api.deps import Given
from controller.core import failpoints
from controller.core import log as logs
from controller.core.errors import Invalid
from controller.domain import bells, inbox

log = logs.get(__name__)

MAX_BYTES = 1_000_000
router = APIRouter()


@router.post("/webhooks/stripe", status_code=204)
async def receive(request: Request, given: Given, stripe_signature: Annotated[str, Header()] = "") -> Response:
    """204 once the event is durably stored, also when it was before; 400 if Stripe did not sign it."""
    body = await request.body()
    if len(body) > MAX_BYTES:
        raise Invalid("event_too_large")
    event = given.stripe.verify(body, stripe_signature)
    failpoints.hit("inbox.verified")
    async with given.database.transaction() as session:
        new = await inbox.put(session, "stripe", event.id, event.kind, event.payload)
    failpoints.hit("inbox.stored")
    log.info("inbox.stored", event_id=event.id, kind=event.kind, new=new)
    if new:
        await given.bell.ring(bells.EVENT, event.id)
    return Response(status_code=204)
