"""Invoices: drawn up for a subscription, then paid or not."""

from __future__ import annotations

from typing import Any, Literal

from controller.core import ids
from controller.sandbox.documents import Document
from controller.sandbox.stripe import discounts, events, payments
from controller.sandbox.stripe.catalog import name_of
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger, listed

DRAFT_SECONDS = 3600
"""How long the invoice of a renewal stays a draft, for webhooks to add to it."""

Reason = Literal["subscription_create", "subscription_cycle", "subscription_update", "upcoming"]


def line(subscription: Document, item: Document, amount: int, description: str, *, proration: bool = False) -> Document:
    """One line for the item's current period; ``amount`` in the minor unit, negative for a credit."""
    price = item["price"]
    return {
        "id": f"il_{ids.new()}",
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": subscription["metadata"],
        "parent": _line_parent(subscription, item, proration=proration),
        "period": {"start": item["current_period_start"], "end": item["current_period_end"]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "subtotal": amount,
        "taxes": [],
    }


def period_lines(ledger: Ledger, subscription: Document) -> list[Document]:
    """The lines for a whole period of every item."""
    return [
        line(subscription, item, item["price"]["unit_amount"] * item["quantity"], _wording(ledger, item))
        for item in subscription["items"]["data"]
    ]


def trial_lines(ledger: Ledger, subscription: Document) -> list[Document]:
    """The lines of a trial: nothing to pay."""
    return [
        line(subscription, item, 0, f"Free trial for {item['quantity']} × {name_of(ledger, item['price'])}")
        for item in subscription["items"]["data"]
    ]


def draw_up(
    ledger: Ledger, subscription: Document, reason: Reason, lines: list[Document], *, draft: bool = False
) -> Document:
    """An invoice over ``lines``, not attempted yet and announced: open, or a draft for its first hour."""
    invoice = compose(ledger, subscription, reason, lines)
    if draft:
        invoice |= {"automatically_finalizes_at": ledger.now() + DRAFT_SECONDS}
        events.emit(ledger, "invoice.created", ledger.save(invoice))
        return invoice
    events.emit(ledger, "invoice.created", ledger.save(invoice))
    return finalize(ledger, invoice)


def compose(ledger: Ledger, subscription: Document, reason: Reason, lines: list[Document]) -> Document:
    """A draft over ``lines`` with the subscription's discounts, written nowhere yet."""
    customer = ledger.get("customer", subscription["customer"])
    key = ledger.new_id("in")
    own = [{**each, "invoice": key} for each in lines]
    given = discounts.current(ledger, subscription)
    own = discounts.lower(ledger, own, given, subscription["currency"])
    off = discounts.totals(own)
    subtotal = sum(each["amount"] for each in own)
    total = subtotal - sum(each["amount"] for each in off)
    due = max(total + customer["balance"], 0)
    return _blank(ledger, key) | {
        "billing_reason": reason,
        "currency": subscription["currency"],
        "customer": customer["id"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "default_payment_method": None,
        "discounts": [each["discount"] for each in off],
        "lines": listed(own, f"/v1/invoices/{key}/lines"),
        "parent": _parent(subscription),
        "amount_due": due,
        "amount_remaining": due,
        "starting_balance": customer["balance"],
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "test_clock": customer["test_clock"],
        "total": total,
        "total_discount_amounts": off,
        "total_excluding_tax": total,
    }


def finalize(ledger: Ledger, invoice: Document) -> Document:
    """The draft, open now: it has a number, and the customer's credit is taken into account."""
    customer = ledger.get("customer", invoice["customer"])
    sequence = customer["next_invoice_sequence"]
    sum_ = invoice["total"] + customer["balance"]
    ledger.save(customer | {"next_invoice_sequence": sequence + 1, "balance": min(sum_, 0)})
    final = invoice | {
        "amount_due": max(sum_, 0),
        "amount_remaining": max(sum_, 0),
        "automatically_finalizes_at": None,
        "effective_at": ledger.now(),
        "ending_balance": min(sum_, 0),
        "hosted_invoice_url": f"{ledger.call.base_url}/i/{invoice['id']}",
        "invoice_pdf": f"{ledger.call.base_url}/i/{invoice['id']}/pdf",
        "number": f"{customer['invoice_prefix']}-{sequence:04d}",
        "starting_balance": customer["balance"],
        "status": "open",
        "status_transitions": invoice["status_transitions"] | {"finalized_at": ledger.now()},
    }
    events.emit(ledger, "invoice.finalized", ledger.save(final))
    return final


def must_be_open(invoice: Document) -> None:
    """Return if the invoice waits for money. Raises Fault otherwise, as Stripe words it."""
    if invoice["status"] == "paid":
        raise Fault("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] != "open":
        raise Fault("This invoice can no longer be paid", code="invoice_not_open")


def mark_paid(ledger: Ledger, invoice: Document, *, counts: bool = True) -> Document:
    """The invoice, paid; ``counts`` says whether this was an attempt of the retry schedule."""
    paid = invoice | {
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "attempt_count": _attempts(invoice, counts=counts),
        "attempted": True,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status": "paid",
        "status_transitions": invoice["status_transitions"] | {"paid_at": ledger.now()},
    }
    ledger.save(paid)
    events.emit(ledger, "invoice.paid", paid)
    events.emit(ledger, "invoice.payment_succeeded", paid)
    return paid


def mark_failed(ledger: Ledger, invoice: Document, *, retry_in_days: int | None, counts: bool = True) -> Document:
    """The invoice after a refused payment: still open, the next try planned if there is to be one.

    ``retry_in_days`` counts only when this was an attempt of the retry schedule, as ``counts`` says.
    """
    failed = invoice | {"attempt_count": _attempts(invoice, counts=counts), "attempted": True}
    if counts:
        failed["next_payment_attempt"] = ledger.now() + retry_in_days * 86_400 if retry_in_days else None
    ledger.save(failed)
    events.emit(ledger, "invoice.payment_failed", failed)
    events.emit_change(ledger, "invoice.updated", invoice, failed)
    return failed


def give_up(ledger: Ledger, invoice: Document, status: Literal["void", "uncollectible"]) -> Document:
    """The invoice, void or written off, with its event. Raises Fault unless it is open (or uncollectible, to void)."""
    if invoice["status"] != "open" and not (status == "void" and invoice["status"] == "uncollectible"):
        raise Fault(f"You can only mark an open invoice as {status}. This one is {invoice['status']}.")
    moment = "voided_at" if status == "void" else "marked_uncollectible_at"
    given_up = invoice | {
        "auto_advance": False,
        "next_payment_attempt": None,
        "status": status,
        "status_transitions": invoice["status_transitions"] | {moment: ledger.now()},
    }
    if status == "void":
        given_up |= {"amount_remaining": 0}
        payments.abandon(ledger, invoice)
    ledger.save(given_up)
    events.emit(ledger, "invoice.voided" if status == "void" else "invoice.marked_uncollectible", given_up)
    return given_up


def stop_collecting(ledger: Ledger, subscription_id: str) -> None:
    """No invoice of the subscription that is not paid yet is tried again by itself."""
    for status in ("draft", "open"):
        for invoice in ledger.all("invoice", {PARENT: subscription_id, "status": status}):
            ledger.save(invoice | {"auto_advance": False, "next_payment_attempt": None})


PARENT = "parent.subscription_details.subscription"
"""Where an invoice names its subscription."""


def subscription_of(invoice: Document) -> str:
    """The id of the subscription that the invoice is for."""
    return str(invoice["parent"]["subscription_details"]["subscription"])


def _attempts(invoice: Document, *, counts: bool) -> int:
    # Stripe: "manual attempts after the first do not affect the retry schedule".
    before: int = invoice["attempt_count"]
    return before + 1 if counts else max(before, 1)


def _wording(ledger: Ledger, item: Document) -> str:
    price = item["price"]
    money = f"{price['unit_amount'] / 100:.2f} {price['currency'].upper()}"
    return f"{item['quantity']} × {name_of(ledger, price)} (at {money} / {price['recurring']['interval']})"


def _parent(subscription: Document) -> dict[str, Any]:
    return {
        "quote_details": None,
        "subscription_details": {"metadata": subscription["metadata"], "subscription": subscription["id"]},
        "type": "subscription_details",
    }


def _line_parent(subscription: Document, item: Document, *, proration: bool) -> dict[str, Any]:
    return {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": None,
            "proration": proration,
            "proration_details": {"credited_items": None},
            "subscription": subscription["id"],
            "subscription_item": item["id"],
        },
        "type": "subscription_item_details",
    }


def _blank(ledger: Ledger, key: str) -> Document:
    now = ledger.now()
    nothing: Document = dict.fromkeys(
        (
            "account_name", "account_tax_ids", "application", "automatically_finalizes_at", "confirmation_secret",
            "custom_fields", "customer_address", "customer_phone", "customer_shipping", "default_source",
            "description", "due_date", "effective_at", "ending_balance", "footer", "from_invoice", "hosted_invoice_url",
            "invoice_pdf", "number", "last_finalization_error",
            "latest_revision", "next_payment_attempt", "on_behalf_of", "receipt_number", "rendering",
            "shipping_cost", "shipping_details", "statement_descriptor", "test_clock", "webhooks_delivered_at",
        )
    )  # fmt: skip
    zeros = (
        "amount_overpaid", "amount_paid", "amount_shipping", "attempt_count",
        "post_payment_credit_notes_amount", "pre_payment_credit_notes_amount", "starting_balance",
    )  # fmt: skip
    empty = (
        "customer_tax_ids", "default_tax_rates", "discounts", "total_discount_amounts",
        "total_pretax_credit_amounts", "total_taxes",
    )  # fmt: skip
    return {
        "id": key,
        "object": "invoice",
        **nothing,
        **dict.fromkeys(zeros, 0),
        **{name: [] for name in empty},
        "account_country": "US",
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"enabled": False, **dict.fromkeys(("disabled_reason", "liability", "provider", "status"))},
        "collection_method": "charge_automatically",
        "created": now,
        "customer_tax_exempt": "none",
        "issuer": {"type": "self"},
        "livemode": False,
        "metadata": {},
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": now,
        "period_start": now,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None
        },
    }  # fmt: skip
