"""Checkout: hosted sessions that end in a subscription."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from controller.sandbox.documents import Document
from controller.sandbox.stripe import coupons, discounts, events, subscriptions
from controller.sandbox.stripe.billing import Trial
from controller.sandbox.stripe.discounts import DiscountChoice
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger, listed
from controller.sandbox.stripe.params import Address as Url
from controller.sandbox.stripe.params import Listing, Metadata, Params, given, merged

SHORTEST_LIFE_SECONDS = 30 * 60
LONGEST_LIFE_SECONDS = 24 * 3600


class LineItem(Params):
    """One price to buy."""

    price: str
    quantity: int = Field(default=1, ge=1)


class SubscriptionData(Trial):
    """What the new subscription carries."""

    description: str | None = None
    metadata: Metadata | None = None


class SessionCreate(Params):
    """A new session in subscription mode, the only one modelled."""

    mode: Literal["subscription"]
    line_items: list[LineItem]
    success_url: Url
    cancel_url: Url | None = None
    allow_promotion_codes: bool | None = None
    billing_address_collection: Literal["auto", "required"] | None = None
    client_reference_id: str | None = Field(default=None, max_length=200)
    customer: str | None = None
    customer_email: str | None = None
    discounts: list[DiscountChoice] | None = Field(default=None, max_length=1)
    expires_at: int | None = None
    locale: str | None = None
    metadata: Metadata | None = None
    payment_method_collection: Literal["always", "if_required"] = "always"
    payment_method_types: list[Literal["card", "boleto"]] | None = None
    subscription_data: SubscriptionData = SubscriptionData()


class SessionListing(Listing):
    """Filters of a list of sessions."""

    customer: str | None = None
    payment_link: str | None = None
    status: Literal["open", "complete", "expired"] | None = None
    subscription: str | None = None


class SessionUpdate(Params):
    """What may change on a session."""

    metadata: Metadata | None = None


def create_session(ledger: Ledger, params: SessionCreate) -> Document:
    """The open session, whose ``url`` is a page of this stand-in."""
    now = ledger.now()
    expires_at = params.expires_at or now + LONGEST_LIFE_SECONDS
    if not SHORTEST_LIFE_SECONDS <= expires_at - now + 60 <= LONGEST_LIFE_SECONDS + 60:
        raise Fault("The `expires_at` timestamp must be 30 minutes to 24 hours from now.", param="expires_at")
    if params.customer:
        if params.customer_email:
            raise Fault("You may only specify one of these parameters: customer, customer_email.")
        ledger.live("customer", params.customer, param="customer")
    if params.allow_promotion_codes and params.discounts:
        raise Fault("You may only specify one of these parameters: allow_promotion_codes, discounts.")
    params.subscription_data.ends_at(now)
    fields = params.model_dump(
        exclude={"expand", "line_items", "subscription_data", "metadata", "expires_at", "discounts"}
    )
    session = _open(ledger, params.line_items) | fields
    usual = ["card", "boleto"] if session["currency"] == "brl" else ["card"]
    session |= {
        "expires_at": expires_at,
        "metadata": params.metadata or {},
        "payment_method_types": params.payment_method_types or usual,
        "customer_creation": None if params.customer else "always",
    }
    remember(ledger, session["id"], params.line_items, params.subscription_data)
    return ledger.save(session | quote(ledger, session["id"], params.discounts or (), session["currency"]))


def update_session(ledger: Ledger, params: SessionUpdate, key: str) -> Document:
    """The session with its metadata changed."""
    session = ledger.get("checkout.session", key)
    if "metadata" in params.model_fields_set:
        session["metadata"] = merged(session["metadata"], params.metadata)
    return ledger.save(session)


def list_sessions(ledger: Ledger, params: SessionListing) -> Document:
    """A page of sessions."""
    where = given(params, "customer", "payment_link", "status", "subscription")
    return ledger.page("checkout.session", "/v1/checkout/sessions", params, where)


def expire(ledger: Ledger, _: Params, key: str) -> Document:
    """The session, expired now. Raises Fault unless it is open."""
    session = ledger.get("checkout.session", key)
    if session["status"] != "open":
        raise Fault(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of'
            f" {session['status']}."
        )
    return lapse(ledger, session)


def lapse(ledger: Ledger, session: Document) -> Document:
    """The open session, expired, with its event."""
    session |= {"status": "expired", "url": None}
    events.emit(ledger, "checkout.session.expired", ledger.save(session))
    return session


def line_items(ledger: Ledger, _: Params, key: str) -> Document:
    """What the session or link sells, as a list object."""
    kind = "checkout.session" if key.startswith("cs_") else "payment_link"
    url = f"/v1/{'checkout/sessions' if kind == 'checkout.session' else 'payment_links'}/{key}/line_items"
    ledger.get(kind, key)
    return listed(bought(ledger, key), url)


def quote(ledger: Ledger, key: str, choices: Sequence[DiscountChoice], currency: str) -> Document:
    """What the session ``key`` costs today, as the fields of a session: nothing during a trial.

    Raises Fault for a discount that may not be had.
    """
    order = order_of(ledger, key)
    subtotal = sum(each["amount_subtotal"] for each in bought(ledger, key))
    trial = order["trial_period_days"] or order["trial_end"]
    left = 0 if trial else subtotal
    for coupon in discounts.check(ledger, choices, subtotal, None):
        if coupon["percent_off"] is not None or coupon["currency"] == currency:
            left -= discounts.taken_off(coupon, left)
    today = 0 if trial else subtotal
    return {
        "amount_subtotal": today,
        "amount_total": left,
        "discounts": [_shown(each) for each in choices],
        "total_details": {"amount_discount": today - left, "amount_shipping": 0, "amount_tax": 0},
    }


def apply_code(ledger: Ledger, session: Document, typed: str) -> Document:
    """The open session with the promotion code that its buyer typed; an empty one takes it away.

    Raises Fault if there is no such code or it does not hold.
    """
    choices: list[DiscountChoice] = []
    if typed.strip():
        code = coupons.find_code(ledger, typed)
        if code is None:
            raise Fault("This code is invalid.", param="code")
        choices = [DiscountChoice(promotion_code=code["id"])]
    return ledger.save(session | quote(ledger, session["id"], choices, session["currency"]))


def remember(ledger: Ledger, key: str, items: list[LineItem], carried: SubscriptionData) -> None:
    """Keep what the session or link ``key`` sells, and what its subscription will carry."""
    order = {
        "items": [{"price": item.price, "quantity": item.quantity} for item in items],
        "metadata": carried.metadata or {},
        "description": carried.description,
        "trial_end": carried.trial_end,
        "trial_period_days": carried.trial_period_days,
        "missing_payment_method": carried.without_method(),
    }
    ledger.documents.put("checkout_order", key, order)


def order_of(ledger: Ledger, key: str) -> Document:
    """What was remembered of the session or link ``key``."""
    blank: Document = {"items": [], "metadata": {}, "description": None, "trial_end": None, "trial_period_days": None}
    return blank | (ledger.documents.get("checkout_order", key) or {})


def bought(ledger: Ledger, key: str) -> list[Document]:
    """The line items of the session or link ``key``."""
    carried = order_of(ledger, key)
    return [
        _line(ledger, f"li_{key[-26:]}{number}", ledger.get("price", item["price"]), item["quantity"])
        for number, item in enumerate(carried["items"])
    ]


def _line(ledger: Ledger, key: str, price: Document, quantity: int) -> Document:
    amount = price["unit_amount"] * quantity
    return {
        "id": key,
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": ledger.get("product", price["product"])["name"],
        "metadata": {},
        "price": price,
        "quantity": quantity,
    }


def _shown(choice: DiscountChoice) -> Document:
    return {"coupon": choice.coupon, "promotion_code": choice.promotion_code}


def _open(ledger: Ledger, items: list[LineItem]) -> Document:
    prices = [subscriptions.recurring_price(ledger, item.price) for item in items]
    if not prices:
        raise Fault("Missing required param: line_items.", code="parameter_missing", param="line_items")
    key = ledger.new_id("cs_test")
    nothing: Document = dict.fromkeys(
        (
            "after_expiration", "client_secret", "collected_information", "consent", "consent_collection",
            "currency_conversion", "customer_details", "invoice", "invoice_creation", "payment_intent",
            "payment_link", "payment_method_configuration_details", "recovered_from", "return_url",
            "saved_payment_method_options", "setup_intent", "shipping_address_collection", "shipping_cost",
            "submit_type", "subscription", "wallet_options", "origin_context", "permissions",
        )
    )  # fmt: skip
    return {
        "id": key,
        "object": "checkout.session",
        **nothing,
        "adaptive_pricing": None,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "created": ledger.now(),
        "currency": prices[0]["currency"],
        "custom_fields": [],
        "custom_text": {"after_submit": None, "shipping_address": None, "submit": None},
        "livemode": False,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "ui_mode": "hosted_page",
        "url": f"{ledger.call.base_url}/c/pay/{key}",
    }


ENDPOINTS = [
    Endpoint("POST", "/checkout/sessions", create_session, SessionCreate),
    Endpoint("GET", "/checkout/sessions", list_sessions, SessionListing),
    retrieve("/checkout/sessions", "checkout.session"),
    Endpoint("POST", "/checkout/sessions/{id}", update_session, SessionUpdate),
    Endpoint("POST", "/checkout/sessions/{id}/expire", expire),
    Endpoint("GET", "/checkout/sessions/{id}/line_items", line_items, Listing),
]
