"""Refunds: money given back of a charge."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.sandbox.documents import Document
from controller.sandbox.stripe import events
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing, Metadata, Params, given, merged


class RefundCreate(Params):
    """What to give back: all that is left of the charge unless ``amount`` says less."""

    charge: str | None = None
    payment_intent: str | None = None
    amount: int | None = Field(default=None, ge=1)
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None
    metadata: Metadata | None = None


class RefundUpdate(Params):
    """What may change on a refund."""

    metadata: Metadata | None = None


class RefundListing(Listing):
    """Filters of a list of refunds."""

    charge: str | None = None
    payment_intent: str | None = None


def create(ledger: Ledger, params: RefundCreate) -> Document:
    """The refund, which succeeds at once. Raises Fault if the charge has less left, or is disputed."""
    charge = _charge(ledger, params)
    ledger.keep_time_of(ledger.get("customer", charge["customer"]))
    amount = _refundable(charge, params.amount)
    refund = _refund(ledger, charge, amount, params)
    given_back = charge["amount_refunded"] + amount
    after = charge | {"amount_refunded": given_back, "refunded": given_back == charge["amount"]}
    events.emit(ledger, "refund.created", ledger.save(refund))
    events.emit_change(ledger, "charge.refunded", charge, ledger.save(after))
    return refund


def update(ledger: Ledger, params: RefundUpdate, key: str) -> Document:
    """The refund with its metadata changed."""
    old = ledger.get("refund", key)
    new = old | {"metadata": merged(old["metadata"], params.metadata)}
    events.emit_change(ledger, "refund.updated", old, ledger.save(new))
    return new


def list_refunds(ledger: Ledger, params: RefundListing) -> Document:
    """A page of refunds."""
    return ledger.page("refund", "/v1/refunds", params, given(params, "charge", "payment_intent"))


def _charge(ledger: Ledger, params: RefundCreate) -> Document:
    if (params.charge is None) == (params.payment_intent is None):
        raise Fault("One of the following params should be provided for this request: payment_intent or charge.")
    if params.charge:
        return ledger.get("charge", params.charge, param="charge")
    intent = ledger.get("payment_intent", params.payment_intent or "", param="payment_intent")
    if intent["status"] != "succeeded":
        raise Fault(f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.")
    return ledger.get("charge", intent["latest_charge"])


def _refundable(charge: Document, wanted: int | None) -> int:
    if not charge["captured"]:
        raise Fault(f"Charge {charge['id']} was not successful and cannot be refunded.")
    if charge["disputed"]:
        raise Fault(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    left: int = charge["amount"] - charge["amount_refunded"]
    if left == 0:
        raise Fault(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if wanted is not None and wanted > left:
        raise Fault(f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({left})", param="amount")
    return wanted or left


def _refund(ledger: Ledger, charge: Document, amount: int, params: RefundCreate) -> Document:
    nothing: Document = dict.fromkeys(
        ("balance_transaction", "receipt_number", "source_transfer_reversal", "transfer_reversal")
    )
    return {
        "id": ledger.new_id("re"),
        "object": "refund",
        **nothing,
        "amount": amount,
        "charge": charge["id"],
        "created": ledger.now(),
        "currency": charge["currency"],
        "destination_details": {"type": charge["payment_method_details"]["type"]},
        "metadata": params.metadata or {},
        "payment_intent": charge["payment_intent"],
        "reason": params.reason,
        "status": "succeeded",
    }


ENDPOINTS = [
    Endpoint("POST", "/refunds", create, RefundCreate),
    Endpoint("GET", "/refunds", list_refunds, RefundListing),
    retrieve("/refunds", "refund"),
    Endpoint("POST", "/refunds/{id}", update, RefundUpdate),
]
