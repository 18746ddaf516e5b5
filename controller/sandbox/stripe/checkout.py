"""Checkout: hosted sessions that end in a subscription."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.stripe import billing, customers, events, subscriptions
from controller.sandbox.stripe.customers import CustomerParams
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger, listed
from controller.sandbox.stripe.params import Listing, Metadata, Params, merged
from controller.sandbox.stripe.subscriptions import Order, Wanted

SHORTEST_LIFE_SECONDS = 30 * 60
LONGEST_LIFE_SECONDS = 24 * 3600


class LineItem(Params):
    """One price to buy."""

    price: str
    quantity: int = Field(default=1, ge=1)


class SubscriptionData(Params):
    """What the new subscription carries."""

    description: str | None = None
    metadata: Metadata | None = None


class SessionCreate(Params):
    """A new session in subscription mode, the only one modelled."""

    mode: Literal["subscription"]
    line_items: list[LineItem]
    success_url: str
    cancel_url: str | None = None
    allow_promotion_codes: bool | None = None
    billing_address_collection: Literal["auto", "required"] | None = None
    client_reference_id: str | None = Field(default=None, max_length=200)
    customer: str | None = None
    customer_email: str | None = None
    expires_at: int | None = None
    locale: str | None = None
    metadata: Metadata | None = None
    payment_method_collection: Literal["always", "if_required"] = "always"
    payment_method_types: list[str] | None = None
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
    fields = params.model_dump(exclude={"expand", "line_items", "subscription_data", "metadata", "expires_at"})
    session = _open(ledger, params.line_items) | fields
    session |= {
        "expires_at": expires_at,
        "metadata": params.metadata or {},
        "payment_method_types": params.payment_method_types or ["card"],
        "customer_creation": None if params.customer else "always",
    }
    remember(ledger, session["id"], params.line_items, params.subscription_data)
    return ledger.save(session)


def update_session(ledger: Ledger, params: SessionUpdate, key: str) -> Document:
    """The session with its metadata changed."""
    session = ledger.get("checkout.session", key)
    if "metadata" in params.model_fields_set:
        session["metadata"] = merged(session["metadata"], params.metadata)
    return ledger.save(session)


def list_sessions(ledger: Ledger, params: SessionListing) -> Document:
    """A page of sessions."""
    names = ("customer", "payment_link", "status", "subscription")
    where = {name: getattr(params, name) for name in names if getattr(params, name) is not None}
    return ledger.page("checkout.session", "/v1/checkout/sessions", params, where)


def expire(ledger: Ledger, _: Params, key: str) -> Document:
    """The session, expired now. Raises Fault unless it is open."""
    session = ledger.get("checkout.session", key)
    if session["status"] != "open":
        raise Fault(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of'
            f" {session['status']}."
        )
    return _expired(ledger, session)


def expire_due(ledger: Ledger) -> None:
    """Every open session whose time is over expires, with its event."""
    now = clock.now().timestamp()
    for session in ledger.all("checkout.session", {"status": "open"}):
        if session["expires_at"] <= now:
            _expired(ledger, session)


def line_items(ledger: Ledger, _: Params, key: str) -> Document:
    """What the session or link sells, as a list object."""
    kind = "checkout.session" if key.startswith("cs_") else "payment_link"
    url = f"/v1/{'checkout/sessions' if kind == 'checkout.session' else 'payment_links'}/{key}/line_items"
    ledger.get(kind, key)
    return listed(bought(ledger, key), url)


def complete(ledger: Ledger, key: str, outcome: str, email: str | None) -> tuple[Document, Document, Document]:
    """The session, subscription and invoice after the buyer's last step.

    ``paid``: by card, at once; on a session that was completed unpaid, the money arrives. ``unpaid``: by
    boleto, the money is on its way. ``failed``: such money will not come.

    Raises Fault if the session is in no state for it.
    """
    session = ledger.get("checkout.session", key)
    if session["status"] == "complete" and session["payment_status"] == "unpaid" and outcome != "unpaid":
        return _late(ledger, session, paid=outcome == "paid")
    if session["status"] != "open" or outcome == "failed":
        raise Fault(f"This Checkout Session is {session['status']} and {session['payment_status']}.", param="outcome")
    return _completed(ledger, session, paid=outcome == "paid", email=email)


def _completed(
    ledger: Ledger, session: Document, *, paid: bool, email: str | None
) -> tuple[Document, Document, Document]:
    customer = _buyer(ledger, session, email)
    if paid:
        method = customers.attach(ledger, customers.Attach(customer=customer["id"]), "pm_card_visa")
    else:
        method = customers.boleto(ledger, customer["id"])
    carried = ledger.documents.get("checkout_order", session["id"]) or {}
    order = Order(
        customer=customer["id"],
        items=tuple(Wanted(item["price"], item["quantity"]) for item in carried["items"]),
        metadata=carried["metadata"],
        default_payment_method=method["id"],
        description=carried["description"],
    )
    subscription, invoice = billing.open_subscription(ledger, order, paid=True if paid else None)
    session |= {
        "customer": customer["id"],
        "customer_details": _details(customer),
        "invoice": invoice["id"],
        "payment_status": "paid" if paid else "unpaid",
        "status": "complete",
        "subscription": subscription["id"],
        "url": None,
    }
    events.emit(ledger, "checkout.session.completed", ledger.save(session))
    return session, subscription, invoice


def _late(ledger: Ledger, session: Document, *, paid: bool) -> tuple[Document, Document, Document]:
    subscription, invoice = billing.attempt(ledger, session["invoice"], paid=paid)
    if paid:
        ledger.save(session | {"payment_status": "paid"})
    ending = "succeeded" if paid else "failed"
    session = ledger.get("checkout.session", session["id"])
    events.emit(ledger, f"checkout.session.async_payment_{ending}", session)
    return session, subscription, invoice


def _buyer(ledger: Ledger, session: Document, email: str | None) -> Document:
    if session["customer"]:
        return ledger.live("customer", session["customer"])
    address = session["customer_email"] or email or "buyer@example.com"
    return customers.create_customer(ledger, CustomerParams(email=address))


def _details(customer: Document) -> Document:
    return {
        "address": None,
        "business_name": None,
        "email": customer["email"],
        "individual_name": None,
        "name": customer["name"],
        "phone": customer["phone"],
        "tax_exempt": "none",
        "tax_ids": [],
    }


def _expired(ledger: Ledger, session: Document) -> Document:
    session |= {"status": "expired", "url": None}
    events.emit(ledger, "checkout.session.expired", ledger.save(session))
    return session


def remember(ledger: Ledger, key: str, items: list[LineItem], carried: SubscriptionData) -> None:
    """Keep what the session or link ``key`` sells, and what its subscription will carry."""
    order = {
        "items": [{"price": item.price, "quantity": item.quantity} for item in items],
        "metadata": carried.metadata or {},
        "description": carried.description,
    }
    ledger.documents.put("checkout_order", key, order)


def bought(ledger: Ledger, key: str) -> list[Document]:
    """The line items of the session or link ``key``."""
    carried = ledger.documents.get("checkout_order", key) or {"items": []}
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


def _open(ledger: Ledger, items: list[LineItem]) -> Document:
    prices = [subscriptions.recurring_price(ledger, item.price) for item in items]
    total = sum(price["unit_amount"] * item.quantity for price, item in zip(prices, items, strict=True))
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
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "created": ledger.now(),
        "currency": prices[0]["currency"] if prices else None,
        "custom_fields": [],
        "custom_text": {"after_submit": None, "shipping_address": None, "submit": None},
        "discounts": [],
        "livemode": False,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
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
