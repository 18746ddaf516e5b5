"""What tests and the demo steer below ``/_control``: buyers, time, money and the network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.sandbox.documents import Document
from controller.sandbox.stripe import billing, checkout, deliveries, links
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Call, Ledger


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Buy(_Body):
    """How a session's buyer ends it; ``email`` is what they type if the session brings none."""

    outcome: Literal["paid", "unpaid", "failed"] = "paid"
    email: str | None = None


class Charge(_Body):
    """Whether the bank says yes."""

    outcome: Literal["paid", "failed"]


class Redeliver(_Body):
    """Events to deliver again."""

    event_ids: list[str] | None = None
    all: bool = False
    shuffle_seed: int | None = None
    times: int = Field(default=1, ge=1, le=100)


BodyT = TypeVar("BodyT", bound=BaseModel)


def _pay_session(ledger: Ledger, request: Request, body: Buy) -> Document:
    session, subscription, invoice = checkout.complete(ledger, request.path_params["id"], body.outcome, body.email)
    return {
        "session": session["id"],
        "subscription": subscription["id"],
        "customer": subscription["customer"],
        "invoice": invoice["id"],
    }


def _open_link(ledger: Ledger, request: Request, _: _Body) -> Document:
    return links.open_link(ledger, request.path_params["id"])


def _renew(ledger: Ledger, request: Request, body: Charge) -> Document:
    subscription, invoice = billing.renew(ledger, request.path_params["id"], paid=body.outcome == "paid")
    return _standing(subscription, invoice)


def _attempt(ledger: Ledger, request: Request, body: Charge) -> Document:
    subscription, invoice = billing.attempt(ledger, request.path_params["id"], paid=body.outcome == "paid")
    return _standing(subscription, invoice)


def _standing(subscription: Document, invoice: Document | None) -> Document:
    return {
        "subscription": subscription["id"],
        "status": subscription["status"],
        "invoice": invoice["id"] if invoice else None,
        "attempt_count": invoice["attempt_count"] if invoice else None,
    }


def _redeliver(ledger: Ledger, _: Request, body: Redeliver) -> Document:
    if body.all == bool(body.event_ids):
        raise Fault("Name event_ids or say all.", status=422)
    events = ledger.all("event") if body.all else [ledger.get("event", key) for key in body.event_ids or ()]
    rows = deliveries.redeliver(ledger, events, times=body.times, shuffle_seed=body.shuffle_seed)
    return {"deliveries": rows}


def _set_delivery(ledger: Ledger, _: Request, body: deliveries.Delivery) -> Document:
    changed = deliveries.settings(ledger).model_copy(update=body.model_dump(exclude_unset=True))
    deliveries.set_settings(ledger, changed)
    return changed.model_dump()


def _list_deliveries(ledger: Ledger, request: Request, _: _Body) -> Document:
    names = ("event", "endpoint", "status", "type")
    where: dict[str, str | int | None] = {n: request.query_params[n] for n in names if n in request.query_params}
    return {"deliveries": ledger.all("delivery", where), "waiting": len(ledger.all("delivery", {"status": "waiting"}))}


def _ready(_: Ledger, __: Request, ___: _Body) -> Document:
    return {"ready": True}


def _route(method: str, path: str, model: type[BodyT], act: Callable[[Ledger, Request, BodyT], Document]) -> Route:
    async def serve(request: Request) -> Response:
        ledger: Ledger = request.app.state.ledger
        try:
            body = model.model_validate_json(await request.body() or b"{}")
        except ValidationError as exc:
            raise Fault(str(exc.errors(include_url=False)[0]["msg"]), status=422) from exc
        ledger.call = Call(base_url=str(request.base_url).rstrip("/"))
        with ledger.documents.transaction():
            answer = act(ledger, request, body)
        request.app.state.sender.wake()
        return JSONResponse(answer)

    endpoint: Callable[[Request], Awaitable[Response]] = serve
    return Route(f"/_control{path}", endpoint, methods=[method])


ROUTES = [
    _route("POST", "/checkout/sessions/{id}/pay", Buy, _pay_session),
    _route("POST", "/payment_links/{id}/open", _Body, _open_link),
    _route("POST", "/subscriptions/{id}/renew", Charge, _renew),
    _route("POST", "/invoices/{id}/attempt", Charge, _attempt),
    _route("GET", "/deliveries", _Body, _list_deliveries),
    _route("POST", "/redeliver", Redeliver, _redeliver),
    _route("PUT", "/delivery", deliveries.Delivery, _set_delivery),
    _route("GET", "/ready", _Body, _ready),
]
