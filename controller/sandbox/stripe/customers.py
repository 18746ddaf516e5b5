"""Customers and the cards they pay with."""

from __future__ import annotations

from typing import Literal

from controller.sandbox.documents import Document
from controller.sandbox.stripe import cards, events
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing, Metadata, Params, merged

_OWN_FIELDS = {
    "email", "name", "phone", "description", "preferred_locales", "address", "balance", "tax_exempt"
}  # fmt: skip


class Address(Params):
    """Where somebody lives, as far as they say."""

    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None


class InvoiceSettings(Params):
    """The card that pays invoices."""

    default_payment_method: str | None = None


class CustomerParams(Params):
    """A customer's own fields, for creation and update."""

    email: str | None = None
    name: str | None = None
    phone: str | None = None
    description: str | None = None
    address: Address | None = None
    preferred_locales: list[str] | None = None
    metadata: Metadata | None = None
    payment_method: str | None = None
    invoice_settings: InvoiceSettings | None = None
    balance: int | None = None
    tax_exempt: Literal["none", "exempt", "reverse"] | None = None


class CustomerCreate(CustomerParams):
    """A new customer; one with a ``test_clock`` lives by it."""

    test_clock: str | None = None


class CustomerListing(Listing):
    """A customer list's filters: the exact address, case kept; only a test clock's customers, if one is named."""

    email: str | None = None
    test_clock: str | None = None


class CardToken(Params):
    """A card as a token, the only form that leaves card numbers at Stripe."""

    token: str


class PaymentMethodCreate(Params):
    """A new card from a test token such as ``tok_visa``."""

    type: Literal["card"]
    card: CardToken
    metadata: Metadata | None = None


class Attach(Params):
    """Whose card it becomes."""

    customer: str


class OwnMethods(Listing):
    """A list of payment methods, of one type if wanted."""

    type: str | None = None


class PaymentMethodListing(OwnMethods):
    """A list of one customer's payment methods."""

    customer: str


def create_customer(ledger: Ledger, params: CustomerCreate) -> Document:
    """The new customer."""
    if params.test_clock:
        ledger.live("test_helpers.test_clock", params.test_clock, param="test_clock")
        ledger.keep_time_of({"test_clock": params.test_clock})
    customer = _customer(ledger) | params.model_dump(include=_OWN_FIELDS | {"test_clock"}, exclude_none=True)
    customer["metadata"] = params.metadata or {}
    ledger.save(customer)
    _set_card(ledger, customer, params)
    events.emit(ledger, "customer.created", ledger.save(customer))
    return customer


def update_customer(ledger: Ledger, params: CustomerParams, key: str) -> Document:
    """The customer with the given fields changed."""
    old = ledger.live("customer", key)
    new = old | params.model_dump(exclude_unset=True, include=_OWN_FIELDS)
    if "metadata" in params.model_fields_set:
        new["metadata"] = merged(old["metadata"], params.metadata)
    _set_card(ledger, new, params)
    events.emit_change(ledger, "customer.updated", old, ledger.save(new))
    return new


def list_customers(ledger: Ledger, params: CustomerListing) -> Document:
    """A page of customers."""
    where: dict[str, str | int | None] = {"test_clock": params.test_clock}
    if params.email:
        where["email"] = params.email
    return ledger.page("customer", "/v1/customers", params, where)


def create_payment_method(ledger: Ledger, params: PaymentMethodCreate) -> Document:
    """The new card, attached to nobody yet."""
    return ledger.save(_card(ledger, params.card.token.replace("tok_", "pm_card_", 1), params.metadata or {}))


def attach(ledger: Ledger, params: Attach, key: str) -> Document:
    """The card, now the customer's; a test token makes a new card.

    Raises Fault when the bank refuses it (``pm_card_chargeDeclined``).
    """
    customer = ledger.live("customer", params.customer, param="customer")
    method = _card(ledger, key, {}) if key.startswith("pm_card_") else ledger.get("payment_method", key)
    if not cards.attaches(method):
        raise cards.verdict(method, authenticated=True).fault()
    method["customer"] = customer["id"]
    events.emit(ledger, "payment_method.attached", ledger.save(method))
    return method


def detach(ledger: Ledger, _: Params, key: str) -> Document:
    """The card, no longer anybody's."""
    method = ledger.get("payment_method", key)
    if method["customer"] is None:
        raise Fault("The payment method you provided is not attached to a customer so detachment is impossible.")
    new = method | {"customer": None}
    events.emit(ledger, "payment_method.detached", ledger.save(new), {"customer": method["customer"]})
    return new


def list_own_methods(ledger: Ledger, params: OwnMethods, key: str) -> Document:
    """A page of the payment methods of the customer ``key``."""
    ledger.live("customer", key)
    return list_payment_methods(ledger, PaymentMethodListing(customer=key, **params.model_dump()))


def list_payment_methods(ledger: Ledger, params: PaymentMethodListing) -> Document:
    """A page of one customer's payment methods."""
    where: dict[str, str | int | None] = {"customer": params.customer}
    if params.type:
        where["type"] = params.type
    return ledger.page("payment_method", "/v1/payment_methods", params, where)


def owned_card(ledger: Ledger, customer_id: str, key: str) -> Document:
    """The customer's payment method. Raises Fault if it is not attached to the customer."""
    method = ledger.documents.get("payment_method", key)
    if method is None or method["customer"] != customer_id:
        raise Fault(
            f"The customer does not have a payment method with the ID {key[:64]}. The payment method must be attached"
            " to the customer.",
            code="resource_missing",
            param="default_payment_method",
        )
    return method


def boleto(ledger: Ledger, customer_id: str) -> Document:
    """A new payment method that pays days later, attached to the customer."""
    method = _payment_method(ledger, "boleto", {}) | {"customer": customer_id, "boleto": {"tax_id": ""}}
    return ledger.save(method)


def _set_card(ledger: Ledger, customer: Document, params: CustomerParams) -> None:
    attached = None
    if params.payment_method:
        attached = attach(ledger, Attach(customer=customer["id"]), params.payment_method)["id"]
    if params.invoice_settings is None:
        return
    wanted = params.invoice_settings.default_payment_method
    if wanted is not None:
        wanted = attached if wanted == params.payment_method else owned_card(ledger, customer["id"], wanted)["id"]
    customer["invoice_settings"] = customer["invoice_settings"] | {"default_payment_method": wanted}


def _customer(ledger: Ledger) -> Document:
    key = ledger.new_id("cus")
    return {
        "id": key,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": ledger.now(),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "email": None,
        "invoice_prefix": key[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def _card(ledger: Ledger, token: str, metadata: dict[str, str]) -> Document:
    known = cards.by_token(token)
    brand, last4 = known.brand, known.last4
    card = {
        "brand": brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": known.country,
        "display_brand": brand,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": f"{brand}{last4}",
        "funding": "credit",
        "last4": last4,
        "networks": {"available": [brand], "preferred": None},
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
    return _payment_method(ledger, "card", metadata) | {"card": card}


def _payment_method(ledger: Ledger, kind: str, metadata: dict[str, str]) -> Document:
    return {
        "id": ledger.new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None},
        "card": None,
        "created": ledger.now(),
        "customer": None,
        "livemode": False,
        "metadata": metadata,
        "type": kind,
    }


ENDPOINTS = [
    Endpoint("POST", "/customers", create_customer, CustomerCreate),
    Endpoint("GET", "/customers", list_customers, CustomerListing),
    retrieve("/customers", "customer"),
    Endpoint("POST", "/customers/{id}", update_customer, CustomerParams),
    Endpoint("GET", "/customers/{id}/payment_methods", list_own_methods, OwnMethods),
    Endpoint("POST", "/payment_methods", create_payment_method, PaymentMethodCreate),
    Endpoint("GET", "/payment_methods", list_payment_methods, PaymentMethodListing),
    retrieve("/payment_methods", "payment_method"),
    Endpoint("POST", "/payment_methods/{id}/attach", attach, Attach),
    Endpoint("POST", "/payment_methods/{id}/detach", detach),
]
