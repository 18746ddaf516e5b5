"""Prorations: what a change in the middle of a period gives back and asks for."""

from __future__ import annotations

from controller.sandbox.documents import Document
from controller.sandbox.stripe import collection, discounts, invoices, subscriptions
from controller.sandbox.stripe.catalog import name_of
from controller.sandbox.stripe.invoices import line
from controller.sandbox.stripe.ledger import Ledger


def lines(ledger: Ledger, old: Document, new: Document) -> list[Document]:
    """The unused rest of what was, as credit, and the rest of the period of what is now; only what differs."""
    before = {item["id"]: item for item in old["items"]["data"]}
    after = {item["id"]: item for item in new["items"]["data"]}
    touched = [key for key in {**before, **after} if _terms(before.get(key)) != _terms(after.get(key))]
    gone = [_share(ledger, old, before[key], "Unused time on", -1) for key in touched if key in before]
    come = [_share(ledger, new, after[key], "Remaining time on", 1) for key in touched if key in after]
    return gone + come


def keep(ledger: Ledger, subscription: Document, made: list[Document]) -> None:
    """The lines wait for the subscription's next invoice."""
    for each in made:
        ledger.documents.put("pending_line", each["id"], each | {"of": subscription["id"]})


def kept(ledger: Ledger, subscription_id: str) -> list[Document]:
    """The lines that wait for the subscription's next invoice."""
    found = ledger.documents.find("pending_line", {"of": subscription_id})
    return [{name: value for name, value in each.items() if name != "of"} for each in found]


def take(ledger: Ledger, subscription_id: str) -> list[Document]:
    """The waiting lines, which now wait no more."""
    found = kept(ledger, subscription_id)
    for each in found:
        ledger.documents.remove("pending_line", each["id"])
    return found


def bill_at_once(ledger: Ledger, subscription: Document, made: list[Document]) -> tuple[Document, Document]:
    """The subscription and the invoice over the lines, charged now; a credit is kept as the customer's balance."""
    waiting = take(ledger, subscription["id"])
    invoice = invoices.draw_up(ledger, subscription, "subscription_update", waiting + made)
    left = discounts.left_after(ledger, subscription, invoice)
    subscriptions.change(ledger, subscription, latest_invoice=invoice["id"], discounts=left)
    return collection.collect(ledger, invoice)


def _terms(item: Document | None) -> tuple[str, int] | None:
    return (item["price"]["id"], item["quantity"]) if item else None


def _share(ledger: Ledger, subscription: Document, item: Document, wording: str, sign: int) -> Document:
    start, end, now = item["current_period_start"], item["current_period_end"], ledger.now()
    left = min(max(end - now, 0), end - start)
    amount = item["price"]["unit_amount"] * item["quantity"]
    share = sign * ((amount * left + (end - start) // 2) // (end - start))
    text = f"{wording} {name_of(ledger, item['price'])}"
    each = line(subscription, item, share, text, proration=True)
    return each | {"period": {"start": max(start, min(now, end)), "end": end}}
