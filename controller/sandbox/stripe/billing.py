"""What happens to a subscription and its invoices: opened, renewed, paid, changed, canceled."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.sandbox.documents import Document
from controller.sandbox.stripe import customers, events, invoices, subscriptions
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault, declined, missing
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing, Metadata, Params, merged
from controller.sandbox.stripe.subscriptions import Order, Wanted


class NewItem(Params):
    """One price of a new subscription."""

    price: str
    quantity: int = Field(default=1, ge=1)


class SubscriptionCreate(Params):
    """A subscription without Checkout."""

    customer: str
    items: list[NewItem]
    default_payment_method: str | None = None
    description: str | None = None
    metadata: Metadata | None = None
    off_session: bool | None = None
    payment_behavior: Literal["allow_incomplete", "default_incomplete", "error_if_incomplete"] = "allow_incomplete"


class ItemChange(Params):
    """A change of one item; without ``id`` a new item, as Stripe has it."""

    id: str | None = None
    price: str | None = None
    quantity: int | None = Field(default=None, ge=1)
    deleted: bool = False


class SubscriptionUpdate(Params):
    """What may change on a subscription."""

    items: list[ItemChange] | None = None
    cancel_at_period_end: bool | None = None
    default_payment_method: str | None = None
    description: str | None = None
    metadata: Metadata | None = None
    payment_behavior: Literal["allow_incomplete", "error_if_incomplete"] = "allow_incomplete"
    proration_behavior: Literal["create_prorations", "always_invoice", "none"] = "create_prorations"


class SubscriptionListing(Listing):
    """Filters of a list of subscriptions; without ``status`` canceled ones are left out."""

    customer: str | None = None
    price: str | None = None
    status: str | None = None


class InvoiceListing(Listing):
    """Filters of a list of invoices."""

    customer: str | None = None
    status: Literal["draft", "open", "paid", "uncollectible", "void"] | None = None
    subscription: str | None = None


class Pay(Params):
    """How an invoice is paid."""

    off_session: bool | None = None
    paid_out_of_band: bool = False
    payment_method: str | None = None


def open_subscription(ledger: Ledger, order: Order, *, paid: bool | None) -> tuple[Document, Document]:
    """The subscription and its first invoice; ``paid`` None leaves the payment on its way."""
    subscription = subscriptions.shape(ledger, order)
    lines = invoices.period_lines(subscription)
    invoice = invoices.draw_up(ledger, subscription, "subscription_create", lines)
    subscription |= {"latest_invoice": invoice["id"], "status": "active" if paid else "incomplete"}
    events.emit(ledger, "customer.subscription.created", ledger.save(subscription))
    if paid is not None:
        invoice = (invoices.mark_paid if paid else invoices.mark_failed)(ledger, invoice)
    return subscription, invoice


def create(ledger: Ledger, params: SubscriptionCreate) -> Document:
    """The new subscription: active, or incomplete if the first payment failed or waits."""
    customer = ledger.live("customer", params.customer, param="customer")
    card = _card(ledger, customer, params.default_payment_method)
    paid = customers.charges(card) if params.payment_behavior != "default_incomplete" else None
    if paid is False and params.payment_behavior == "error_if_incomplete":
        raise declined()
    order = Order(
        customer=customer["id"],
        items=tuple(Wanted(item.price, item.quantity) for item in params.items),
        metadata=params.metadata or {},
        default_payment_method=params.default_payment_method,
        description=params.description,
    )
    return open_subscription(ledger, order, paid=paid)[0]


def renew(ledger: Ledger, key: str, *, paid: bool) -> tuple[Document, Document | None]:
    """The subscription one period later and the invoice for it; one that was to end then ends, without an invoice.

    Raises Fault unless it is active or past due.
    """
    old = ledger.get("subscription", key)
    if old["status"] not in ("active", "past_due"):
        raise Fault(f"A subscription that is {old['status']} has no next period.", param="id")
    if old["cancel_at_period_end"]:
        return subscriptions.end(ledger, old, old["cancellation_details"]["reason"]), None
    new = subscriptions.advance(old)
    lines = invoices.period_lines(new) + _pending(ledger, key)
    invoice = invoices.draw_up(ledger, new, "subscription_cycle", lines)
    invoice |= {
        "period_start": old["items"]["data"][0]["current_period_start"],
        "period_end": old["items"]["data"][0]["current_period_end"],
    }
    ledger.save(invoice)
    subscriptions.change(ledger, old, items=new["items"], latest_invoice=invoice["id"])
    return _settled(ledger, invoice, paid=paid)


def attempt(ledger: Ledger, key: str, *, paid: bool) -> tuple[Document, Document]:
    """The subscription and the invoice after the next automatic attempt. Raises Fault if it is not open."""
    invoice = ledger.get("invoice", key)
    invoices.must_be_open(invoice)
    return _settled(ledger, invoice, paid=paid)


def pay(ledger: Ledger, params: Pay, key: str) -> Document:
    """The paid invoice. Raises Fault (402) when the card is refused, which is remembered as an attempt."""
    invoice = ledger.get("invoice", key)
    invoices.must_be_open(invoice)
    customer = ledger.get("customer", invoice["customer"])
    subscription = ledger.get("subscription", invoices.subscription_of(invoice))
    card_id = params.payment_method or subscription["default_payment_method"]
    paid = params.paid_out_of_band or customers.charges(_card(ledger, customer, card_id))
    _, invoice = _settled(ledger, invoice, paid=paid, counts=False)
    if not paid:
        raise declined(keeps=True)
    return invoice


def update(ledger: Ledger, params: SubscriptionUpdate, key: str) -> Document:
    """The subscription with the given fields changed, price changes prorated as asked."""
    old = ledger.get("subscription", key)
    given = params.model_fields_set
    if old["status"] == "canceled" and given - {"metadata", "expand"}:
        raise Fault("A canceled subscription can only update its cancellation_details and metadata.")
    fields: Document = {}
    if "metadata" in given:
        fields["metadata"] = merged(old["metadata"], params.metadata)
    if "description" in given:
        fields["description"] = params.description
    if params.default_payment_method:
        card = customers.owned_card(ledger, old["customer"], params.default_payment_method)
        fields["default_payment_method"] = card["id"]
    if params.cancel_at_period_end is not None:
        fields |= _ending(ledger, old, at_period_end=params.cancel_at_period_end)
    if params.items:
        fields["items"] = _items_after(ledger, old, params.items)
    new = subscriptions.change(ledger, old, **fields)
    if params.items and params.proration_behavior != "none":
        new = _prorate(ledger, old, new, at_once=params.proration_behavior == "always_invoice")
    return new


def cancel(ledger: Ledger, _: Params, key: str) -> Document:
    """The subscription, canceled at once. Raises Fault if it was already."""
    subscription = ledger.get("subscription", key)
    if subscription["status"] == "canceled":
        raise missing("subscription", key)
    return subscriptions.end(ledger, subscription, "cancellation_requested")


def list_subscriptions(ledger: Ledger, params: SubscriptionListing) -> Document:
    """A page of subscriptions."""

    def keep(row: Document) -> bool:
        wanted = row["status"] != "canceled" if params.status is None else params.status in ("all", row["status"])
        prices = {item["price"]["id"] for item in row["items"]["data"]}
        return wanted and (params.price is None or params.price in prices)

    where = {"customer": params.customer} if params.customer else None
    return ledger.page("subscription", "/v1/subscriptions", params, where, keep)


def list_invoices(ledger: Ledger, params: InvoiceListing) -> Document:
    """A page of invoices."""
    where: dict[str, str | int | None] = {
        "customer": params.customer,
        "status": params.status,
        "parent.subscription_details.subscription": params.subscription,
    }
    given = {name: value for name, value in where.items() if value is not None}
    return ledger.page("invoice", "/v1/invoices", params, given)


def delete_customer(ledger: Ledger, _: Params, key: str) -> Document:
    """The customer is gone and so are the subscriptions."""
    customer = ledger.live("customer", key)
    for subscription in ledger.all("subscription", {"customer": key}):
        if subscription["status"] != "canceled":
            subscriptions.end(ledger, subscription, "cancellation_requested")
    events.emit(ledger, "customer.deleted", customer)
    return ledger.save({"id": key, "object": "customer", "deleted": True})


def _settled(ledger: Ledger, invoice: Document, *, paid: bool, counts: bool = True) -> tuple[Document, Document]:
    settle = invoices.mark_paid if paid else invoices.mark_failed
    invoice = settle(ledger, invoice, counts=counts)
    return subscriptions.follow_payment(ledger, invoice), invoice


def _card(ledger: Ledger, customer: Document, key: str | None) -> Document:
    wanted = key or customer["invoice_settings"]["default_payment_method"]
    if wanted is None:
        raise Fault(
            "This customer has no attached payment source or default payment method. Please consider adding a default"
            " payment method.",
            code="resource_missing",
        )
    return customers.owned_card(ledger, customer["id"], wanted)


def _ending(ledger: Ledger, old: Document, *, at_period_end: bool) -> Document:
    details = old["cancellation_details"] | {"reason": "cancellation_requested" if at_period_end else None}
    return {
        "cancel_at_period_end": at_period_end,
        "cancel_at": old["items"]["data"][0]["current_period_end"] if at_period_end else None,
        "canceled_at": ledger.now() if at_period_end else None,
        "cancellation_details": details,
    }


def _items_after(ledger: Ledger, old: Document, changes: list[ItemChange]) -> Document:
    items = {item["id"]: item for item in old["items"]["data"]}
    for wanted in changes:
        if wanted.id not in items:
            raise missing("subscription_item", wanted.id or "", param="items[0][id]", status=400)
        if wanted.deleted:
            del items[wanted.id]
            continue
        item = items[wanted.id]
        price = subscriptions.recurring_price(ledger, wanted.price) if wanted.price else item["price"]
        items[wanted.id] = subscriptions.with_price(item, price, wanted.quantity or item["quantity"])
    if not items:
        raise Fault("A subscription must have at least one active plan.", param="items")
    after: Document = old["items"] | {"data": list(items.values()), "total_count": len(items)}
    return after


def _prorate(ledger: Ledger, old: Document, new: Document, *, at_once: bool) -> Document:
    lines = [
        *(_share(ledger, old, item, "Unused time on", -1) for item in old["items"]["data"]),
        *(_share(ledger, new, item, "Remaining time on", 1) for item in new["items"]["data"]),
    ]
    if not at_once:
        for each in lines:
            ledger.documents.put("pending_line", each["id"], each | {"of": new["id"]})
        return new
    card = _card(ledger, ledger.get("customer", new["customer"]), new["default_payment_method"])
    invoice = invoices.draw_up(ledger, new, "subscription_update", lines)
    new = subscriptions.change(ledger, new, latest_invoice=invoice["id"])
    # A credit needs no card: it is settled at once.
    paid = invoice["amount_due"] == 0 or customers.charges(card)
    return _settled(ledger, invoice, paid=paid)[0]


def _share(ledger: Ledger, subscription: Document, item: Document, wording: str, sign: int) -> Document:
    start, end, now = item["current_period_start"], item["current_period_end"], ledger.now()
    left = min(max(end - now, 0), end - start)
    amount = item["price"]["unit_amount"] * item["quantity"]
    share = sign * ((amount * left + (end - start) // 2) // (end - start))
    text = f"{wording} {item['price']['lookup_key'] or item['price']['id']}"
    each = invoices.line(subscription, item, share, text, proration=True)
    return each | {"period": {"start": max(start, min(now, end)), "end": end}}


def _pending(ledger: Ledger, subscription_id: str) -> list[Document]:
    lines = ledger.documents.find("pending_line", {"of": subscription_id})
    for each in lines:
        ledger.documents.remove("pending_line", each["id"])
        del each["of"]
    return lines


ENDPOINTS = [
    Endpoint("DELETE", "/customers/{id}", delete_customer),
    Endpoint("POST", "/subscriptions", create, SubscriptionCreate),
    Endpoint("GET", "/subscriptions", list_subscriptions, SubscriptionListing),
    retrieve("/subscriptions", "subscription"),
    Endpoint("POST", "/subscriptions/{id}", update, SubscriptionUpdate),
    Endpoint("DELETE", "/subscriptions/{id}", cancel),
    Endpoint("GET", "/invoices", list_invoices, InvoiceListing),
    retrieve("/invoices", "invoice"),
    Endpoint("POST", "/invoices/{id}/pay", pay, Pay),
]
