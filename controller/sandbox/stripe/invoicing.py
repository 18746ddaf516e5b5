"""Invoices as a caller of the API lists, pays, previews and gives them up."""

from __future__ import annotations

from typing import Literal

from controller.sandbox.documents import Document
from controller.sandbox.stripe import (
    cards,
    changes,
    collection,
    customers,
    events,
    invoices,
    prorations,
    subscriptions,
)  # fmt: skip
from controller.sandbox.stripe.cards import Verdict
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger, listed
from controller.sandbox.stripe.params import Listing, Metadata, Params, merged


class InvoiceListing(Listing):
    """Filters of a list of invoices."""

    customer: str | None = None
    status: Literal["draft", "open", "paid", "uncollectible", "void"] | None = None
    subscription: str | None = None


class InvoiceUpdate(Params):
    """What may change on an invoice."""

    auto_advance: bool | None = None
    metadata: Metadata | None = None


class Finalize(Params):
    """Whether the invoice goes on by itself once it is open."""

    auto_advance: bool | None = None


class Pay(Params):
    """How an invoice is paid."""

    off_session: bool | None = None
    paid_out_of_band: bool = False
    payment_method: str | None = None


class PreviewDetails(Params):
    """The change of the subscription to preview."""

    items: list[changes.ItemChange] | None = None
    proration_behavior: Literal["create_prorations", "always_invoice", "none"] = "create_prorations"


class Preview(Params):
    """Which invoice to show before it exists."""

    subscription: str
    customer: str | None = None
    subscription_details: PreviewDetails = PreviewDetails()


def attempt(ledger: Ledger, key: str, verdict: Verdict | None) -> tuple[Document, Document]:
    """The subscription and the invoice after the next automatic attempt; the card decides without a ``verdict``.

    Raises Fault if the invoice is not open.
    """
    invoice = ledger.get("invoice", key)
    invoices.must_be_open(invoice)
    ledger.keep_time_of(ledger.get("customer", invoice["customer"]))
    return collection.collect(ledger, invoice, verdict)


def pay(ledger: Ledger, params: Pay, key: str) -> Document:
    """The paid invoice. Raises Fault (402) when the card is refused, which is remembered as an attempt."""
    invoice = ledger.get("invoice", key)
    customer = ledger.get("customer", invoice["customer"])
    ledger.keep_time_of(customer)
    if invoice["status"] == "draft":
        invoice = invoices.finalize(ledger, invoice)
    invoices.must_be_open(invoice)
    if params.paid_out_of_band or invoice["amount_due"] == 0:
        return collection.paid_outside(ledger, invoice)
    subscription = ledger.get("subscription", invoices.subscription_of(invoice))
    method = collection.needed_method(ledger, customer, params.payment_method or subscription["default_payment_method"])
    return pay_with(ledger, invoice, method, cards.verdict(method))


def pay_with(ledger: Ledger, invoice: Document, method: Document, verdict: Verdict) -> Document:
    """The open invoice, paid by hand with this payment method. Raises Fault (402) as ``pay`` does."""
    _, invoice = collection.collect(ledger, invoice, verdict, method, counts=False)
    if not verdict.paid:
        raise verdict.fault(keeps=True)
    return invoice


def finalize(ledger: Ledger, params: Finalize, key: str) -> Document:
    """The draft, open now; it goes on by itself unless told otherwise. Raises Fault unless it is a draft."""
    invoice = ledger.get("invoice", key)
    if invoice["status"] != "draft":
        raise Fault("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    ledger.keep_time_of(ledger.get("customer", invoice["customer"]))
    if params.auto_advance is not None:
        invoice["auto_advance"] = params.auto_advance
    return invoices.finalize(ledger, invoice)


def update(ledger: Ledger, params: InvoiceUpdate, key: str) -> Document:
    """The invoice with the given fields changed."""
    old = ledger.get("invoice", key)
    new = dict(old)
    if params.auto_advance is not None:
        new["auto_advance"] = params.auto_advance
        if old["status"] == "draft":
            new["automatically_finalizes_at"] = ledger.now() + invoices.DRAFT_SECONDS if params.auto_advance else None
    if "metadata" in params.model_fields_set:
        new["metadata"] = merged(old["metadata"], params.metadata)
    events.emit_change(ledger, "invoice.updated", old, ledger.save(new))
    return new


def preview(ledger: Ledger, params: Preview) -> Document:
    """The invoice that would come next, or at once, if the subscription changed so; nothing is written."""
    old = ledger.get("subscription", params.subscription, param="subscription")
    ledger.keep_time_of(ledger.get("customer", old["customer"]))
    wanted = params.subscription_details
    new = old | ({"items": changes.items_after(ledger, old, wanted.items)} if wanted.items else {})
    prorated = [] if wanted.proration_behavior == "none" else prorations.lines(ledger, old, new)
    lines = prorations.kept(ledger, old["id"]) + prorated
    if wanted.proration_behavior == "always_invoice" and wanted.items:
        invoice = invoices.compose(ledger, new, "subscription_update", lines)
    else:
        later = subscriptions.advance(new)
        invoice = invoices.compose(ledger, later, "upcoming", invoices.period_lines(ledger, later) + lines)
    return invoice | {"id": f"upcoming_{invoice['id']}", "auto_advance": False}


def list_invoices(ledger: Ledger, params: InvoiceListing) -> Document:
    """A page of invoices."""
    where: dict[str, str | int | None] = {
        "customer": params.customer,
        "status": params.status,
        invoices.PARENT: params.subscription,
    }
    given = {name: value for name, value in where.items() if value is not None}
    return ledger.page("invoice", "/v1/invoices", params, given)


def list_lines(ledger: Ledger, params: Listing, key: str) -> Document:
    """The invoice's lines."""
    invoice = ledger.get("invoice", key)
    rows = invoice["lines"]["data"]
    return listed(rows[: params.limit], f"/v1/invoices/{key}/lines", has_more=len(rows) > params.limit)


def void(ledger: Ledger, _: Params, key: str) -> Document:
    """The invoice, void."""
    return invoices.give_up(ledger, ledger.get("invoice", key), "void")


def mark_uncollectible(ledger: Ledger, _: Params, key: str) -> Document:
    """The invoice, written off."""
    return invoices.give_up(ledger, ledger.get("invoice", key), "uncollectible")


def new_card(ledger: Ledger, customer_id: str, token: str, subscription_id: str | None) -> Document:
    """The customer's card from now on: attached, the default, and the subscription's own.

    Raises Fault (402) when the bank refuses it.
    """
    method = customers.attach(ledger, customers.Attach(customer=customer_id), token)
    settings = customers.InvoiceSettings(default_payment_method=method["id"])
    customers.update_customer(ledger, customers.CustomerParams(invoice_settings=settings), customer_id)
    if subscription_id:
        subscription = ledger.get("subscription", subscription_id)
        if not subscriptions.is_over(subscription):
            subscriptions.change(ledger, subscription, default_payment_method=method["id"])
    return method


ENDPOINTS = [
    Endpoint("GET", "/invoices", list_invoices, InvoiceListing),
    Endpoint("POST", "/invoices/create_preview", preview, Preview),
    retrieve("/invoices", "invoice"),
    Endpoint("POST", "/invoices/{id}", update, InvoiceUpdate),
    Endpoint("GET", "/invoices/{id}/lines", list_lines, Listing),
    Endpoint("POST", "/invoices/{id}/finalize", finalize, Finalize),
    Endpoint("POST", "/invoices/{id}/pay", pay, Pay),
    Endpoint("POST", "/invoices/{id}/void", void),
    Endpoint("POST", "/invoices/{id}/mark_uncollectible", mark_uncollectible),
]
