"""Invoices: drawn up for a subscription, then paid or not."""

from __future__ import annotations

from typing import Any, Literal

from controller.core import ids
from controller.sandbox.documents import Document
from controller.sandbox.stripe import events
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger, listed

RETRY_DAYS = (3, 5, 7)
"""Days to the next automatic attempt after the first, second and third failure; after the fourth nothing more."""

Reason = Literal["subscription_create", "subscription_cycle", "subscription_update"]


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


def period_lines(subscription: Document) -> list[Document]:
    """The lines for a whole period of every item."""
    return [
        line(subscription, item, item["price"]["unit_amount"] * item["quantity"], _wording(item))
        for item in subscription["items"]["data"]
    ]


def draw_up(ledger: Ledger, subscription: Document, reason: Reason, lines: list[Document]) -> Document:
    """An open invoice over ``lines``, not attempted yet, announced as created and finalized."""
    customer = ledger.get("customer", subscription["customer"])
    sequence = customer["next_invoice_sequence"]
    ledger.save(customer | {"next_invoice_sequence": sequence + 1})
    key = ledger.new_id("in")
    own = [{**each, "invoice": key} for each in lines]
    total = sum(each["amount"] for each in own)
    invoice = _blank(ledger, key) | {
        "billing_reason": reason,
        "currency": subscription["currency"],
        "customer": customer["id"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "default_payment_method": None,
        "hosted_invoice_url": f"{ledger.call.base_url}/i/{key}",
        "lines": listed(own, f"/v1/invoices/{key}/lines"),
        "number": f"{customer['invoice_prefix']}-{sequence:04d}",
        "parent": _parent(subscription),
        "amount_due": max(total, 0),
        "amount_remaining": max(total, 0),
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "total": total,
        "total_excluding_tax": total,
    }
    ledger.save(invoice)
    events.emit(ledger, "invoice.created", invoice)
    events.emit(ledger, "invoice.finalized", invoice)
    return invoice


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


def mark_failed(ledger: Ledger, invoice: Document, *, counts: bool = True) -> Document:
    """The invoice after a refused payment: still open, the next try planned unless it was the last."""
    attempts = _attempts(invoice, counts=counts)
    days = RETRY_DAYS[attempts - 1] if attempts <= len(RETRY_DAYS) else None
    failed = invoice | {
        "attempt_count": attempts,
        "attempted": True,
        "next_payment_attempt": ledger.now() + days * 86_400 if days else None,
    }
    ledger.save(failed)
    events.emit(ledger, "invoice.payment_failed", failed)
    events.emit_change(ledger, "invoice.updated", invoice, failed)
    return failed


def stop_collecting(ledger: Ledger, subscription_id: str) -> None:
    """No open invoice of the subscription is tried again by itself."""
    where = {"parent.subscription_details.subscription": subscription_id, "status": "open"}
    for invoice in ledger.all("invoice", where):
        ledger.save(invoice | {"auto_advance": False, "next_payment_attempt": None})


def subscription_of(invoice: Document) -> str:
    """The id of the subscription that the invoice is for."""
    return str(invoice["parent"]["subscription_details"]["subscription"])


def _attempts(invoice: Document, *, counts: bool) -> int:
    # Stripe: "manual attempts after the first do not affect the retry schedule".
    before: int = invoice["attempt_count"]
    return before + 1 if counts else max(before, 1)


def _wording(item: Document) -> str:
    price = item["price"]
    money = f"{price['unit_amount'] / 100:.2f} {price['currency'].upper()}"
    name = price["nickname"] or price["lookup_key"] or price["id"]
    return f"{item['quantity']} × {name} (at {money} / {price['recurring']['interval']})"


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
            "description", "due_date", "footer", "from_invoice", "invoice_pdf", "last_finalization_error",
            "latest_revision", "next_payment_attempt", "on_behalf_of", "receipt_number", "rendering",
            "shipping_cost", "shipping_details", "statement_descriptor", "test_clock", "webhooks_delivered_at",
        )
    )  # fmt: skip
    zeros = (
        "amount_overpaid", "amount_paid", "amount_shipping", "attempt_count", "ending_balance",
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
        "effective_at": now,
        "issuer": {"type": "self"},
        "livemode": False,
        "metadata": {},
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": now,
        "period_start": now,
        "status": "open",
        "status_transitions": {
            "finalized_at": now, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None
        },
    }  # fmt: skip
