"""Subscriptions as objects: their shape, their items and periods, their status."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.sandbox.documents import Document
from controller.sandbox.stripe import discounts, events, invoices, periods
from controller.sandbox.stripe.discounts import DiscountChoice
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger, listed


@dataclass(frozen=True)
class Wanted:
    """One price and how many of it."""

    price: str
    quantity: int = 1


@dataclass(frozen=True)
class Order:
    """What a subscription is opened with."""

    customer: str
    items: tuple[Wanted, ...]
    metadata: dict[str, str] = field(default_factory=dict)
    default_payment_method: str | None = None
    description: str | None = None
    discounts: tuple[DiscountChoice, ...] = ()
    trial_end: int | None = None
    missing_payment_method: str = "create_invoice"
    session: str | None = None


def shape(ledger: Ledger, order: Order) -> Document:
    """A new subscription, saved as ``incomplete``; nothing is announced yet.

    Raises Fault for a price that is unknown, archived, not recurring or in another currency or period.
    """
    key, now = ledger.new_id("sub"), ledger.now()
    items = [_item(ledger, key, wanted, order.trial_end) for wanted in order.items]
    _must_agree(items)
    subscription = _blank(key, now) | {
        "billing_cycle_anchor": order.trial_end or now,
        "currency": items[0]["price"]["currency"],
        "customer": order.customer,
        "default_payment_method": order.default_payment_method,
        "description": order.description,
        "items": listed(items, f"/v1/subscription_items?subscription={key}") | {"total_count": len(items)},
        "metadata": order.metadata,
        "test_clock": ledger.call.test_clock,
        "trial_end": order.trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": order.missing_payment_method}},
        "trial_start": now if order.trial_end else None,
    }
    subscription["discounts"] = discounts.give(ledger, order.discounts, subscription, session=order.session)
    return ledger.save(subscription)


def recurring_price(ledger: Ledger, key: str) -> Document:
    """An active price with a period. Raises Fault for any other."""
    price = ledger.get("price", key, param="items[0][price]")
    if not price["active"]:
        raise Fault(f"The price specified is inactive. This field only accepts active prices: {key}", param="price")
    if price["recurring"] is None:
        raise Fault(f"The price specified is set to `type=one_time`: {key}", param="price")
    return price


def with_price(item: Document, price: Document, quantity: int) -> Document:
    """The item at another price of the same period.

    Raises Fault if the period differs: Stripe would move the billing date, which is not modelled here.
    """
    if price["recurring"] != item["price"]["recurring"]:
        raise Fault("This stand-in does not model a change of the billing period.", param="items[0][price]")
    if price["currency"] != item["price"]["currency"]:
        raise Fault("The price's currency must match the subscription's.", param="items[0][price]")
    return item | {"price": price, "plan": _plan(price), "quantity": quantity}


def advance(subscription: Document) -> Document:
    """The subscription one period later."""
    anchor = periods.day_of(subscription["billing_cycle_anchor"])
    return from_now_on(subscription, subscription["items"]["data"][0]["current_period_end"], anchor)


def from_now_on(subscription: Document, start: int, anchor_day: int | None = None) -> Document:
    """The subscription with a period that begins at ``start``."""
    items = [
        item
        | {
            "current_period_start": start,
            "current_period_end": _period_end(start, item["price"], anchor_day),
        }
        for item in subscription["items"]["data"]
    ]
    return with_items(subscription, items)


def with_items(subscription: Document, items: list[Document]) -> Document:
    """The subscription with other items."""
    return subscription | {"items": subscription["items"] | {"data": items, "total_count": len(items)}}


def period_end(subscription: Document) -> int:
    """When the current period is over."""
    return int(subscription["items"]["data"][0]["current_period_end"])


def is_over(subscription: Document) -> bool:
    """Whether nothing can happen to the subscription any more."""
    return subscription["status"] in ("canceled", "incomplete_expired")


def change(ledger: Ledger, old: Document, **fields: object) -> Document:
    """The subscription with ``fields`` changed, saved; announced if any differs."""
    new = ledger.save(old | fields)
    events.emit_change(ledger, "customer.subscription.updated", old, new)
    return new


def end(ledger: Ledger, subscription: Document, reason: str | None) -> Document:
    """The subscription, canceled now and announced as deleted; its open invoices are no longer collected."""
    now = ledger.now()
    discounts.end(ledger, subscription)
    ended = subscription | {
        "status": "canceled",
        "canceled_at": subscription["canceled_at"] or now,
        "discounts": [],
        "ended_at": now,
        "schedule": None,
        "cancellation_details": subscription["cancellation_details"] | {"reason": reason},
    }
    ledger.save(ended)
    invoices.stop_collecting(ledger, subscription["id"])
    events.emit(ledger, "customer.subscription.deleted", ended)
    return ended


def expire(ledger: Ledger, subscription: Document) -> None:
    """The first payment never came: the subscription is over without having begun, its invoice void."""
    changed = change(ledger, subscription, status="incomplete_expired", ended_at=ledger.now())
    for invoice in ledger.all("invoice", {invoices.PARENT: changed["id"], "status": "open"}):
        invoices.give_up(ledger, invoice, "void")


def _item(ledger: Ledger, subscription_id: str, wanted: Wanted, trial_end: int | None) -> Document:
    price, now = recurring_price(ledger, wanted.price), ledger.now()
    return {
        "id": ledger.new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_period_end": trial_end or _period_end(now, price),
        "current_period_start": now,
        "discounts": [],
        "metadata": {},
        "plan": _plan(price),
        "price": price,
        "quantity": wanted.quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def _period_end(start: int, price: Document, anchor_day: int | None = None) -> int:
    recurring = price["recurring"]
    return periods.later(start, recurring["interval"], recurring["interval_count"], anchor_day)


def _must_agree(items: list[Document]) -> None:
    if not items:
        raise Fault("Missing required param: items.", code="parameter_missing", param="items")
    terms = {
        (
            item["price"]["currency"],
            item["price"]["recurring"]["interval"],
            item["price"]["recurring"]["interval_count"],
        )
        for item in items
    }
    if len(terms) > 1:
        raise Fault("All prices on a subscription must have the same currency and period.", param="items")


def _plan(price: Document) -> Document:
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def _blank(key: str, now: int) -> Document:
    nothing: Document = dict.fromkeys(
        (
            "application", "application_fee_percent", "billing_cycle_anchor_config", "billing_thresholds",
            "cancel_at", "canceled_at", "days_until_due", "default_source", "ended_at", "latest_invoice",
            "next_pending_invoice_item_invoice", "on_behalf_of", "pause_collection",
            "pending_invoice_item_interval", "pending_setup_intent", "pending_update", "schedule", "test_clock",
            "transfer_data", "trial_end", "trial_start",
        )
    )  # fmt: skip
    return {
        "id": key,
        "object": "subscription",
        **nothing,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_mode": {"flexible": None, "type": "flexible", "updated_at": None},
        "billing_schedules": [],
        "cancel_at_period_end": False,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": now,
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "livemode": False,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "start_date": now,
        "status": "incomplete",
    }
