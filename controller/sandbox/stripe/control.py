"""What tests and the demo steer below ``/_control``: buyers, time, money, the bank and the network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.sandbox.documents import Document
from controller.sandbox.stripe import (
    cards,
    collection,
    deliveries,
    disputes,
    invoicing,
    links,
    purchases,
    renewals,
    timeline,
    webhooks,
)  # fmt: skip
from controller.sandbox.stripe.cards import Verdict
from controller.sandbox.stripe.collection import Dunning
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Call, Ledger
from controller.sandbox.stripe.travel import Travel, Trouble


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Buy(_Body):
    """How a session's buyer ends it; ``email`` is what they type if the session brings none."""

    outcome: Literal["paid", "unpaid", "failed"] = "paid"
    email: str | None = None


class Charge(_Body):
    """Whether the bank says yes; the card itself decides if omitted."""

    outcome: Literal["paid", "failed"] | None = None

    def verdict(self) -> Verdict | None:
        """What the bank says."""
        return None if self.outcome is None else cards.PAID if self.outcome == "paid" else cards.REFUSED


class Leap(_Body):
    """How far the account's time moves on: by seconds, or to a Unix time."""

    seconds: int | None = Field(default=None, ge=1)
    to: int | None = None


class Opening(_Body):
    """Why a charge is disputed."""

    reason: str = Field(default="fraudulent", pattern=r"^[a-z_]{1,40}$")


class Decision(_Body):
    """What the bank decides."""

    outcome: Literal["won", "lost"]


class Roll(_Body):
    """How long the old signing secret goes on beside the new one."""

    overlap_seconds: int = Field(default=0, ge=0, le=86_400)


class Merchant(_Body):
    """What the hosted pages call the seller."""

    business_name: str = Field(min_length=1, max_length=80)


class Redeliver(_Body):
    """Events to deliver again."""

    event_ids: list[str] | None = None
    all: bool = False
    shuffle_seed: int | None = None
    times: int = Field(default=1, ge=1, le=100)


BodyT = TypeVar("BodyT", bound=BaseModel)


def _pay_session(ledger: Ledger, request: Request, body: Buy) -> Document:
    session, subscription, invoice = purchases.complete(ledger, request.path_params["id"], body.outcome, body.email)
    return {
        "session": session["id"],
        "subscription": subscription["id"],
        "customer": subscription["customer"],
        "invoice": invoice["id"],
    }


def _open_link(ledger: Ledger, request: Request, _: _Body) -> Document:
    return links.open_link(ledger, request.path_params["id"])


def _renew(ledger: Ledger, request: Request, body: Charge) -> Document:
    key = request.path_params["id"]
    ledger.keep_time_of(ledger.get("customer", ledger.get("subscription", key)["customer"]))
    subscription, invoice = renewals.renew(ledger, key, body.verdict())
    return _standing(subscription, invoice)


def _attempt(ledger: Ledger, request: Request, body: Charge) -> Document:
    subscription, invoice = invoicing.attempt(ledger, request.path_params["id"], body.verdict())
    return _standing(subscription, invoice)


def _standing(subscription: Document, invoice: Document | None) -> Document:
    return {
        "subscription": subscription["id"],
        "status": subscription["status"],
        "invoice": invoice["id"] if invoice else None,
        "attempt_count": invoice["attempt_count"] if invoice else None,
    }


def _now(ledger: Ledger, _: Request, __: _Body) -> Document:
    return {"now": ledger.now()}


def _advance(ledger: Ledger, _: Request, body: Leap) -> Document:
    if (body.seconds is None) == (body.to is None):
        raise Fault("Say either seconds or to.", status=422)
    to = body.to if body.to is not None else ledger.now() + (body.seconds or 0)
    return {"happened": timeline.advance_account(ledger, to), "now": ledger.now()}


def _dispute(ledger: Ledger, request: Request, body: Opening) -> Document:
    return disputes.open_dispute(ledger, request.path_params["id"], body.reason)


def _decide(ledger: Ledger, request: Request, body: Decision) -> Document:
    return disputes.decide(ledger, request.path_params["id"], body.outcome)


def _roll(ledger: Ledger, request: Request, body: Roll) -> Document:
    return webhooks.roll_secret(ledger, request.path_params["id"], body.overlap_seconds)


def _make_default(ledger: Ledger, request: Request, _: _Body) -> Document:
    wanted = ledger.get("billing_portal.configuration", request.path_params["id"])
    for other in ledger.all("billing_portal.configuration", {"is_default": 1}):
        ledger.save(other | {"is_default": False})
    return ledger.save(wanted | {"is_default": True})


def _set_merchant(ledger: Ledger, _: Request, body: Merchant) -> Document:
    ledger.documents.put("merchant", "only", body.model_dump())
    return body.model_dump()


def _redeliver(ledger: Ledger, _: Request, body: Redeliver) -> Document:
    if body.all == bool(body.event_ids):
        raise Fault("Name event_ids or say all.", status=422)
    events = ledger.all("event") if body.all else [ledger.get("event", key) for key in body.event_ids or ()]
    rows = deliveries.redeliver(ledger, events, times=body.times, shuffle_seed=body.shuffle_seed)
    return {"deliveries": rows}


def _set_delivery(ledger: Ledger, _: Request, body: Travel) -> Document:
    changed = deliveries.settings(ledger).model_copy(update=body.model_dump(exclude_unset=True))
    deliveries.set_settings(ledger, changed, redraw="seed" in body.model_fields_set)
    return changed.model_dump()


def _show_delivery(ledger: Ledger, _: Request, __: _Body) -> Document:
    waiting = deliveries.waiting_count(ledger)
    return {**deliveries.settings(ledger).model_dump(), "counts": deliveries.counts(ledger), "waiting": waiting}


def _set_trouble(ledger: Ledger, _: Request, body: Trouble) -> Document:
    now = Trouble.model_validate(ledger.documents.get("trouble", "only") or {})
    changed = now.model_copy(update=body.model_dump(exclude_unset=True)).model_dump()
    ledger.documents.put("trouble", "only", changed)
    return changed


def _set_dunning(ledger: Ledger, _: Request, body: Dunning) -> Document:
    changed = collection.dunning(ledger).model_copy(update=body.model_dump(exclude_unset=True))
    collection.set_dunning(ledger, changed)
    return changed.model_dump()


def _list_deliveries(ledger: Ledger, request: Request, _: _Body) -> Document:
    names = ("event", "endpoint", "status", "type")
    where: dict[str, str | int | None] = {n: request.query_params[n] for n in names if n in request.query_params}
    return {"deliveries": ledger.all("delivery", where), "waiting": deliveries.waiting_count(ledger)}


def _ready(_: Ledger, __: Request, ___: _Body) -> Document:
    return {"ready": True}


def _route(method: str, path: str, model: type[BodyT], act: Callable[[Ledger, Request, BodyT], Document]) -> Route:
    async def serve(request: Request) -> Response:
        sent = await request.body()
        ledger: Ledger = request.app.state.ledger
        try:
            body = model.model_validate_json(sent or b"{}")
        except ValidationError as exc:
            raise Fault(str(exc.errors(include_url=False)[0]["msg"]), status=422) from exc
        ledger.begin(Call(base_url=str(request.base_url).rstrip("/")))
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
    _route("GET", "/clock", _Body, _now),
    _route("POST", "/clock/advance", Leap, _advance),
    _route("POST", "/charges/{id}/dispute", Opening, _dispute),
    _route("POST", "/disputes/{id}/decide", Decision, _decide),
    _route("POST", "/webhook_endpoints/{id}/roll_secret", Roll, _roll),
    _route("POST", "/portal_configurations/{id}/make_default", _Body, _make_default),
    _route("PUT", "/merchant", Merchant, _set_merchant),
    _route("PUT", "/dunning", Dunning, _set_dunning),
    _route("PUT", "/trouble", Trouble, _set_trouble),
    _route("GET", "/deliveries", _Body, _list_deliveries),
    _route("POST", "/redeliver", Redeliver, _redeliver),
    _route("GET", "/delivery", _Body, _show_delivery),
    _route("PUT", "/delivery", Travel, _set_delivery),
    _route("GET", "/ready", _Body, _ready),
]
