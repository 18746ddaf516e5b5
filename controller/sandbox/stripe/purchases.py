"""The end of a Checkout session: the buyer pays by card or boleto, and has a subscription."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from controller.sandbox.documents import Document
from controller.sandbox.stripe import billing, cards, checkout, customers, events, invoicing
from controller.sandbox.stripe.cards import Verdict
from controller.sandbox.stripe.discounts import DiscountChoice
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.subscriptions import Order, Wanted

VOUCHER_DAYS = 3
"""How long a boleto can be paid."""

Bought = tuple[Document, Document, Document]
"""A session, its subscription and the first invoice."""


@dataclass(frozen=True)
class Buyer:
    """Who pays and with what: a card's token, or None for a boleto. ``verdict`` overrules what the card's bank says."""

    email: str | None = None
    name: str | None = None
    card: str | None = "pm_card_visa"
    verdict: Verdict | None = None


def complete(ledger: Ledger, key: str, outcome: Literal["paid", "unpaid", "failed"], email: str | None) -> Bought:
    """The session, subscription and invoice after the buyer's last step.

    ``paid``: by card, at once; on a session that was completed unpaid, the money arrives. ``unpaid``: by
    boleto, the money is on its way. ``failed``: such money will not come.

    Raises Fault if the session is in no state for it.
    """
    session = ledger.get("checkout.session", key)
    if session["status"] == "complete" and session["payment_status"] == "unpaid" and outcome != "unpaid":
        return arrive(ledger, session, paid=outcome == "paid")
    if outcome == "failed":
        raise Fault(f"This Checkout Session is {session['status']} and {session['payment_status']}.", param="outcome")
    card = "pm_card_visa" if outcome == "paid" else None
    return finish(ledger, session, Buyer(email, card=card, verdict=cards.PAID))


def finish(ledger: Ledger, session: Document, buyer: Buyer) -> Bought:
    """The session, complete. Raises Fault (402) when the bank refuses the card: nothing was bought then."""
    if session["status"] != "open":
        raise Fault(f"This Checkout Session is {session['status']} and {session['payment_status']}.", param="outcome")
    customer = _customer(ledger, session, buyer)
    ledger.keep_time_of(customer)
    method = _method(ledger, customer, buyer)
    verdict = buyer.verdict or cards.verdict(method, authenticated=True)
    if not verdict.paid:
        raise verdict.fault()
    order = _order(ledger, session, customer, method)
    money: Literal["charge", "on_its_way"] = "charge" if buyer.card else "on_its_way"
    subscription, invoice = billing.open_subscription(ledger, order, verdict, money=money)
    if invoice["status"] != "paid":
        payment_status = "unpaid"
        _print_voucher(ledger, session["id"])
    else:
        payment_status = "paid" if invoice["amount_paid"] else "no_payment_required"
    session |= {
        "customer": customer["id"],
        "customer_details": _details(customer),
        "invoice": invoice["id"],
        "payment_status": payment_status,
        "status": "complete",
        "subscription": subscription["id"],
        "url": None,
    }
    events.emit(ledger, "checkout.session.completed", ledger.save(session))
    return session, subscription, invoice


def arrive(ledger: Ledger, session: Document, *, paid: bool) -> Bought:
    """The money that was on its way came, or will not come. Raises Fault if none is on its way."""
    if session["status"] != "complete" or session["payment_status"] != "unpaid":
        raise Fault("No payment is on its way for this Checkout Session.", param="id")
    subscription, invoice = invoicing.attempt(ledger, session["invoice"], cards.PAID if paid else cards.REFUSED)
    ledger.documents.remove("voucher", session["id"])
    if paid:
        session = ledger.save(session | {"payment_status": "paid"})
    ending = "succeeded" if paid else "failed"
    events.emit(ledger, f"checkout.session.async_payment_{ending}", session)
    return session, subscription, invoice


def voucher(ledger: Ledger, session_id: str) -> Document | None:
    """The boleto that the session's buyer still has to pay, or None."""
    return ledger.documents.get("voucher", session_id)


def voucher_end(ledger: Ledger, session: Document) -> int | None:
    """When the session's boleto can be paid no more, or None without one."""
    found = voucher(ledger, session["id"])
    return found["expires_at"] if found else None


def let_pass(ledger: Ledger, session: Document) -> None:
    """The session's time is over: it expires, or its boleto does."""
    if session["status"] == "open":
        checkout.lapse(ledger, session)
    else:
        arrive(ledger, session, paid=False)


def _order(ledger: Ledger, session: Document, customer: Document, method: Document) -> Order:
    carried = checkout.order_of(ledger, session["id"])
    days = carried["trial_period_days"]
    chosen = [{name: value for name, value in each.items() if value} for each in session["discounts"]]
    return Order(
        customer=customer["id"],
        items=tuple(Wanted(item["price"], item["quantity"]) for item in carried["items"]),
        metadata=carried["metadata"],
        default_payment_method=method["id"],
        description=carried["description"],
        discounts=tuple(DiscountChoice.model_validate(each) for each in chosen),
        trial_end=ledger.now() + days * 86_400 if days else carried["trial_end"],
        missing_payment_method=carried.get("missing_payment_method", "create_invoice"),
        session=session["id"],
    )


def _customer(ledger: Ledger, session: Document, buyer: Buyer) -> Document:
    if session["customer"]:
        return ledger.live("customer", session["customer"])
    address = session["customer_email"] or buyer.email or "buyer@example.com"
    locales = [session["locale"]] if session["locale"] not in (None, "auto") else None
    return customers.create_customer(
        ledger, customers.CustomerCreate(email=address, name=buyer.name, preferred_locales=locales)
    )


def _method(ledger: Ledger, customer: Document, buyer: Buyer) -> Document:
    if buyer.card is None:
        return customers.boleto(ledger, customer["id"])
    return customers.attach(ledger, customers.Attach(customer=customer["id"]), buyer.card)


def _print_voucher(ledger: Ledger, session_id: str) -> None:
    digits = "".join(str(random.Random(f"{session_id}{n}").randint(0, 9)) for n in range(47))  # noqa: S311, a mock-up
    ends = ledger.now() + VOUCHER_DAYS * 86_400
    ledger.documents.put("voucher", session_id, {"number": digits, "expires_at": ends})


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
