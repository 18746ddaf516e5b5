"""The turn of a period: the next one begins and is billed, or the subscription ends."""

from __future__ import annotations

from controller.sandbox.documents import Document
from controller.sandbox.stripe import (
    collection,
    discounts,
    events,
    invoices,
    periods,
    prorations,
    schedules,
    subscriptions,
)  # fmt: skip
from controller.sandbox.stripe.cards import Verdict
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.invoices import Reason
from controller.sandbox.stripe.ledger import Ledger


def renew(ledger: Ledger, key: str, verdict: Verdict | None) -> tuple[Document, Document | None]:
    """The subscription one period later and the invoice for it; one that was to end then ends, without an invoice.

    Everything happens now, whatever the time. Raises Fault unless it is trialing, active or past due.
    """
    old = ledger.get("subscription", key)
    if old["status"] not in ("trialing", "active", "past_due"):
        raise Fault(f"A subscription that is {old['status']} has no next period.", param="id")
    subscription, invoice = _turned(ledger, old, draft=False)
    if invoice is None or invoice["status"] != "open":
        return subscription, invoice
    return collection.collect(ledger, invoice, verdict)


def turn(ledger: Ledger, subscription: Document) -> None:
    """Its period is over: the next one begins with a draft invoice, or the subscription ends or is paused."""
    trial_over = subscription["status"] == "trialing"
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if trial_over and behavior != "create_invoice" and collection.paying_method(ledger, subscription) is None:
        if behavior == "cancel":
            subscriptions.end(ledger, subscription, None)
        else:
            paused = subscriptions.change(ledger, subscription, status="paused")
            events.emit(ledger, "customer.subscription.paused", paused)
        return
    _turned(ledger, subscription, draft=True)


def start_anew(ledger: Ledger, old: Document, reason: Reason = "subscription_cycle") -> tuple[Document, Document]:
    """The subscription, active with a period that begins now, billed and charged at once."""
    now = ledger.now()
    new = subscriptions.from_now_on(old, now, periods.day_of(now))
    invoice = invoices.draw_up(
        ledger, new, reason, invoices.period_lines(ledger, new) + prorations.take(ledger, old["id"])
    )
    subscriptions.change(
        ledger,
        old,
        items=new["items"],
        status="active",
        billing_cycle_anchor=now,
        latest_invoice=invoice["id"],
        discounts=discounts.left_after(ledger, old, invoice),
        trial_end=min(old["trial_end"] or now, now) if old["trial_end"] else None,
    )
    return collection.collect(ledger, invoice)


def finalize_due(ledger: Ledger, invoice: Document) -> None:
    """The draft's hour is over: it is open, and charged."""
    subscription = ledger.get("subscription", invoices.subscription_of(invoice))
    final = invoices.finalize(ledger, invoice)
    if not _put_aside(ledger, subscription, final):
        collection.collect(ledger, final)


def try_again(ledger: Ledger, invoice: Document) -> None:
    """The open invoice's next automatic attempt, unless collection is paused meanwhile."""
    subscription = ledger.get("subscription", invoices.subscription_of(invoice))
    if subscription["pause_collection"]:
        ledger.save(invoice | {"next_payment_attempt": None})
        return
    collection.collect(ledger, invoice)


def _turned(ledger: Ledger, old: Document, *, draft: bool) -> tuple[Document, Document | None]:
    if old["cancel_at_period_end"]:
        return subscriptions.end(ledger, old, old["cancellation_details"]["reason"]), None
    before = schedules.apply_due(ledger, old)
    new = subscriptions.advance(before)
    lines = invoices.period_lines(ledger, new) + prorations.take(ledger, old["id"])
    invoice = invoices.draw_up(ledger, new, "subscription_cycle", lines, draft=draft)
    invoice |= {
        "period_start": old["items"]["data"][0]["current_period_start"],
        "period_end": old["items"]["data"][0]["current_period_end"],
    }
    # Nothing more is collected by itself from who has not paid at all, or is paused with drafts kept.
    kept = old["status"] == "unpaid" or (old["pause_collection"] or {}).get("behavior") == "keep_as_draft"
    if draft and kept:
        invoice |= {"auto_advance": False, "automatically_finalizes_at": None}
    ledger.save(invoice)
    changed = subscriptions.change(
        ledger,
        old,
        items=new["items"],
        latest_invoice=invoice["id"],
        discounts=discounts.left_after(ledger, old, invoice),
        schedule=before["schedule"],
        status="active" if old["status"] == "trialing" else old["status"],
    )
    if not draft and (aside := _put_aside(ledger, changed, invoice)):
        return changed, aside
    return changed, invoice


def _put_aside(ledger: Ledger, subscription: Document, invoice: Document) -> Document | None:
    """The invoice, void or written off because collection is paused; None if it is to be collected."""
    behavior = (subscription["pause_collection"] or {}).get("behavior")
    if behavior in ("void", "mark_uncollectible"):
        return invoices.give_up(ledger, invoice, "void" if behavior == "void" else "uncollectible")
    return None
