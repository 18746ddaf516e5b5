"""Getting an invoice paid: charging the card, trying again, and what the subscription becomes of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from controller.sandbox.documents import Document
from controller.sandbox.stripe import cards, customers, events, invoices, payments, subscriptions
from controller.sandbox.stripe.cards import Verdict
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger


class Dunning(BaseModel):
    """What the account's owner sets in the dashboard about failed payments; each field keeps its value if omitted."""

    model_config = ConfigDict(extra="forbid")

    retry_days: list[Annotated[int, Field(ge=1, le=60)]] = [3, 5, 7]
    """Days to the next automatic attempt after the first, second … failure; after the last nothing more."""
    then: Literal["past_due", "unpaid", "canceled"] = "past_due"
    """What the subscription becomes when the last attempt has failed."""


def dunning(ledger: Ledger) -> Dunning:
    """The settings that hold now."""
    return Dunning.model_validate(ledger.documents.get("dunning", "only") or {})


def set_dunning(ledger: Ledger, changed: Dunning) -> None:
    """From now on failed payments are treated so."""
    ledger.documents.put("dunning", "only", changed.model_dump())


def paying_method(ledger: Ledger, subscription: Document) -> Document | None:
    """The payment method that the subscription's invoices are charged to, or None if there is none."""
    customer = ledger.get("customer", subscription["customer"])
    default = (customer.get("invoice_settings") or {}).get("default_payment_method")
    wanted = subscription["default_payment_method"] or default
    method = ledger.documents.get("payment_method", wanted) if wanted else None
    return method if method and method["customer"] == customer["id"] else None


def needed_method(ledger: Ledger, customer: Document, key: str | None) -> Document:
    """The named payment method, else the customer's default one. Raises Fault if there is none."""
    wanted = key or customer["invoice_settings"]["default_payment_method"]
    if wanted is None:
        raise Fault(
            "This customer has no attached payment source or default payment method. Please consider adding a default"
            " payment method.",
            code="resource_missing",
        )
    return customers.owned_card(ledger, customer["id"], wanted)


def collect(
    ledger: Ledger,
    invoice: Document,
    verdict: Verdict | None = None,
    method: Document | None = None,
    *,
    counts: bool = True,
) -> tuple[Document, Document]:
    """The subscription and the open invoice after an attempt to have it paid.

    The bank's ``verdict`` is the card's own unless given; ``counts``: this is an attempt of the retry schedule.
    """
    subscription = ledger.get("subscription", invoices.subscription_of(invoice))
    if invoice["amount_due"] == 0:
        invoice = invoices.mark_paid(ledger, invoice, counts=False)
        return _follow(ledger, subscription, invoice, last=False), invoice
    method = method or paying_method(ledger, subscription)
    verdict = verdict or (cards.verdict(method) if method else None)
    if verdict and (method or verdict.paid):
        payments.attempt(ledger, invoice, method, verdict)
    if verdict and verdict.paid:
        invoice = invoices.mark_paid(ledger, invoice, counts=counts)
        return _follow(ledger, subscription, invoice, last=False), invoice
    plan, tries = dunning(ledger), invoice["attempt_count"]
    # The first invoice is not tried again by itself: the subscription expires after 23 hours.
    first = invoice["billing_reason"] == "subscription_create"
    days = plan.retry_days[tries] if tries < len(plan.retry_days) and not first else None
    invoice = invoices.mark_failed(ledger, invoice, retry_in_days=days, counts=counts)
    if verdict and verdict.wants_holder:
        events.emit(ledger, "invoice.payment_action_required", invoice)
    return _follow(ledger, subscription, invoice, last=counts and days is None), invoice


def paid_outside(ledger: Ledger, invoice: Document) -> Document:
    """The open invoice, paid by other means than us."""
    invoice = invoices.mark_paid(ledger, invoice, counts=False)
    _follow(ledger, ledger.get("subscription", invoices.subscription_of(invoice)), invoice, last=False)
    return invoice


def _follow(ledger: Ledger, subscription: Document, invoice: Document, *, last: bool) -> Document:
    """The subscription after its invoice was paid or refused: only the latest invoice decides the status."""
    if subscription["latest_invoice"] != invoice["id"] or subscriptions.is_over(subscription):
        return subscription
    status = subscription["status"]
    if invoice["status"] == "paid":
        again = status in ("incomplete", "past_due", "unpaid")
        return subscriptions.change(ledger, subscription, status="active") if again else subscription
    if status not in ("active", "past_due"):
        return subscription
    then = dunning(ledger).then if last else "past_due"
    if then == "canceled":
        return subscriptions.end(ledger, subscription, "payment_failed")
    return subscriptions.change(ledger, subscription, status=then)
