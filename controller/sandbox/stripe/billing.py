"""Subscriptions as a caller of the API makes, changes and ends them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.sandbox.documents import Document
from controller.sandbox.stripe import (
    cards,
    changes,
    collection,
    discounts,
    events,
    invoices,
    payments,
    prorations,
    renewals,
    subscriptions,
)  # fmt: skip
from controller.sandbox.stripe.cards import Verdict
from controller.sandbox.stripe.changes import CancellationDetails, SubscriptionUpdate
from controller.sandbox.stripe.discounts import DiscountChoice
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault, missing
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing, Metadata, Params
from controller.sandbox.stripe.subscriptions import Order, Wanted

LONGEST_TRIAL_DAYS = 730


class NewItem(Params):
    """One price of a new subscription."""

    price: str
    quantity: int = Field(default=1, ge=1)


class EndBehavior(Params):
    """What happens when a trial ends and there is no payment method."""

    missing_payment_method: Literal["cancel", "create_invoice", "pause"]


class TrialSettings(Params):
    """How a trial ends."""

    end_behavior: EndBehavior


class Trial(Params):
    """Whether and how a new subscription begins with a free trial."""

    trial_end: int | Literal["now"] | None = None
    trial_period_days: int | None = Field(default=None, ge=1, le=LONGEST_TRIAL_DAYS)
    trial_settings: TrialSettings | None = None

    def ends_at(self, now: int) -> int | None:
        """When the trial ends, or None without one. Raises Fault for a time that is past or given twice."""
        if self.trial_end is not None and self.trial_period_days is not None:
            raise Fault("You may only specify one of these parameters: trial_end, trial_period_days.")
        if isinstance(self.trial_end, int) and self.trial_end <= now:
            raise Fault("Trial end must be in the future.", param="trial_end")
        if self.trial_period_days is not None:
            return now + self.trial_period_days * 86_400
        return self.trial_end if isinstance(self.trial_end, int) else None

    def without_method(self) -> str:
        """What happens at its end without a payment method."""
        return self.trial_settings.end_behavior.missing_payment_method if self.trial_settings else "create_invoice"


class SubscriptionCreate(Trial):
    """A subscription without Checkout."""

    customer: str
    items: list[NewItem]
    cancel_at_period_end: bool = False
    default_payment_method: str | None = None
    description: str | None = None
    discounts: list[DiscountChoice] | None = None
    metadata: Metadata | None = None
    off_session: bool | None = None
    payment_behavior: Literal["allow_incomplete", "default_incomplete", "error_if_incomplete"] = "allow_incomplete"


class SubscriptionCancel(Params):
    """How a subscription ends now."""

    cancellation_details: CancellationDetails | None = None
    invoice_now: bool = False
    prorate: bool = False


class SubscriptionResume(Params):
    """How a paused subscription goes on; its period begins now, the only way modelled."""

    billing_cycle_anchor: Literal["now"] = "now"
    proration_behavior: Literal["create_prorations", "none", "always_invoice"] = "create_prorations"


class SubscriptionListing(Listing):
    """Filters of a list of subscriptions; without ``status`` canceled ones are left out."""

    customer: str | None = None
    price: str | None = None
    status: str | None = None
    test_clock: str | None = None


def open_subscription(
    ledger: Ledger,
    order: Order,
    verdict: Verdict | None = None,
    *,
    money: Literal["charge", "on_its_way", "later"] = "charge",
) -> tuple[Document, Document]:
    """The subscription and its first invoice: charged, or left open for money that comes some other way.

    ``verdict`` is what the bank says, unless its card decides.
    """
    subscription = subscriptions.shape(ledger, order)
    trial = order.trial_end is not None
    lines = invoices.trial_lines(ledger, subscription) if trial else invoices.period_lines(ledger, subscription)
    invoice = invoices.draw_up(ledger, subscription, "subscription_create", lines)
    method = collection.paying_method(ledger, subscription)
    if invoice["amount_due"] and money == "charge":
        verdict = verdict or (cards.verdict(method) if method else cards.REFUSED)
    free = invoice["amount_due"] == 0
    paid = free or (money == "charge" and verdict is not None and verdict.paid)
    subscription |= {
        "discounts": discounts.left_after(ledger, subscription, invoice) if not trial else subscription["discounts"],
        "latest_invoice": invoice["id"],
        "status": "trialing" if trial else "active" if paid else "incomplete",
    }
    events.emit(ledger, "customer.subscription.created", ledger.save(subscription))
    if free or money == "charge":
        return collection.collect(ledger, invoice, verdict, method)
    if money == "on_its_way" and method:
        payments.await_money(ledger, invoice, method)
    return subscription, invoice


def create(ledger: Ledger, params: SubscriptionCreate) -> Document:
    """The new subscription: active, trialing, or incomplete if the first payment failed or waits."""
    customer = ledger.live("customer", params.customer, param="customer")
    ledger.keep_time_of(customer)
    trial_end = params.ends_at(ledger.now())
    method = None
    later = params.payment_behavior == "default_incomplete"
    if params.default_payment_method or not (trial_end or later):
        method = collection.needed_method(ledger, customer, params.default_payment_method)
    order = Order(
        customer=customer["id"],
        items=tuple(Wanted(item.price, item.quantity) for item in params.items),
        metadata=params.metadata or {},
        default_payment_method=method["id"] if method and params.default_payment_method else None,
        description=params.description,
        discounts=tuple(params.discounts or ()),
        trial_end=trial_end,
        missing_payment_method=params.without_method(),
    )
    verdict = cards.verdict(method) if method and not trial_end else None
    if verdict and not verdict.paid and params.payment_behavior == "error_if_incomplete":
        raise verdict.fault()
    subscription, _ = open_subscription(ledger, order, verdict, money="later" if later else "charge")
    if params.cancel_at_period_end:
        return update(ledger, SubscriptionUpdate(cancel_at_period_end=True), subscription["id"])
    return subscription


def update(ledger: Ledger, params: SubscriptionUpdate, key: str) -> Document:
    """The subscription with the given fields changed, price changes prorated as asked."""
    old = ledger.get("subscription", key)
    ledger.keep_time_of(ledger.get("customer", old["customer"]))
    touches = params.model_fields_set - {"metadata", "expand", "cancellation_details"}
    if subscriptions.is_over(old) and touches:
        raise Fault("A canceled subscription can only update its cancellation_details and metadata.")
    new = subscriptions.change(ledger, old, **changes.wanted(ledger, old, params))
    if params.trial_end == "now" and old["status"] == "trialing":
        return renewals.start_anew(ledger, new)[0]
    if not params.items or params.proration_behavior == "none" or new["status"] == "trialing":
        return new
    lines = prorations.lines(ledger, old, new)
    if params.proration_behavior == "create_prorations" or not lines:
        prorations.keep(ledger, new, lines)
        return new
    new, invoice = prorations.bill_at_once(ledger, new, lines)
    if params.payment_behavior == "error_if_incomplete" and invoice["status"] != "paid":
        raise _verdict_of(ledger, new).fault()
    return new


def cancel(ledger: Ledger, params: SubscriptionCancel, key: str) -> Document:
    """The subscription, canceled at once. Raises Fault if it was already."""
    subscription = ledger.get("subscription", key)
    if subscriptions.is_over(subscription):
        raise missing("subscription", key)
    ledger.keep_time_of(ledger.get("customer", subscription["customer"]))
    if params.cancellation_details:
        said = params.cancellation_details.model_dump(exclude={"expand"}, exclude_unset=True)
        subscription["cancellation_details"] = subscription["cancellation_details"] | said
    if params.prorate:
        nothing_left = subscriptions.with_items(subscription, [])
        prorations.keep(ledger, subscription, prorations.lines(ledger, subscription, nothing_left))
    if params.invoice_now and (lines := prorations.take(ledger, key)):
        invoice = invoices.draw_up(ledger, subscription, "subscription_update", lines)
        collection.collect(ledger, invoice)
        subscription["latest_invoice"] = invoice["id"]
    return subscriptions.end(ledger, subscription, "cancellation_requested")


def resume(ledger: Ledger, params: SubscriptionResume, key: str) -> Document:
    """The paused subscription, active again with a new period that is billed now. Raises Fault unless it is paused."""
    old = ledger.get("subscription", key)
    ledger.keep_time_of(ledger.get("customer", old["customer"]))
    if old["status"] != "paused":
        raise Fault(f"Subscription {key} cannot be resumed: it is {old['status']}, not paused.")
    resumed, invoice = renewals.start_anew(ledger, old, "subscription_update")
    if invoice["status"] != "paid":
        # Stripe leaves it paused until the invoice is paid.
        subscriptions.change(ledger, resumed, status="paused")
        raise _verdict_of(ledger, resumed).fault(keeps=True)
    events.emit(ledger, "customer.subscription.resumed", resumed)
    return resumed


def end_discount(ledger: Ledger, _: Params, key: str) -> Document:
    """The subscription has no discount any more."""
    subscription = ledger.get("subscription", key)
    ended = [ledger.get("discount", each) for each in subscription["discounts"]]
    discounts.end(ledger, subscription)
    subscriptions.change(ledger, subscription, discounts=[])
    return {**(ended[0] if ended else {"object": "discount"}), "deleted": True}


def list_subscriptions(ledger: Ledger, params: SubscriptionListing) -> Document:
    """A page of subscriptions."""

    def keep(row: Document) -> bool:
        if params.status is None:
            wanted = row["status"] != "canceled"
        elif params.status == "ended":
            wanted = subscriptions.is_over(row)
        else:
            wanted = params.status in ("all", row["status"])
        prices = {item["price"]["id"] for item in row["items"]["data"]}
        return wanted and (params.price is None or params.price in prices)

    where: dict[str, str | int | None] = {"customer": params.customer} if params.customer else {}
    if params.test_clock:
        where["test_clock"] = params.test_clock
    return ledger.page("subscription", "/v1/subscriptions", params, where, keep)


def delete_customer(ledger: Ledger, _: Params, key: str) -> Document:
    """The customer is gone and so are the subscriptions."""
    customer = ledger.live("customer", key)
    ledger.keep_time_of(customer)
    for subscription in ledger.all("subscription", {"customer": key}):
        if not subscriptions.is_over(subscription):
            subscriptions.end(ledger, subscription, "cancellation_requested")
    events.emit(ledger, "customer.deleted", customer)
    return ledger.save({"id": key, "object": "customer", "deleted": True})


def _verdict_of(ledger: Ledger, subscription: Document) -> Verdict:
    method = collection.paying_method(ledger, subscription)
    verdict = cards.verdict(method) if method else cards.REFUSED
    return cards.REFUSED if verdict.paid else verdict


ENDPOINTS = [
    Endpoint("DELETE", "/customers/{id}", delete_customer),
    Endpoint("POST", "/subscriptions", create, SubscriptionCreate),
    Endpoint("GET", "/subscriptions", list_subscriptions, SubscriptionListing),
    retrieve("/subscriptions", "subscription"),
    Endpoint("POST", "/subscriptions/{id}", update, SubscriptionUpdate),
    Endpoint("DELETE", "/subscriptions/{id}", cancel, SubscriptionCancel),
    Endpoint("POST", "/subscriptions/{id}/resume", resume, SubscriptionResume),
    Endpoint("DELETE", "/subscriptions/{id}/discount", end_discount),
]
