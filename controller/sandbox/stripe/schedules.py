"""Subscription schedules: a change of plan that waits for the end of the period, as the portal makes it."""

from __future__ import annotations

from controller.sandbox.documents import Document
from controller.sandbox.stripe import events, subscriptions
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing, Params, given


class ScheduleListing(Listing):
    """Filter of a list of schedules."""

    customer: str | None = None


def change_later(ledger: Ledger, subscription: Document, items: list[Document]) -> Document:
    """The subscription, which will have ``items`` from its next period on; takes the place of an earlier wish."""
    if subscription["schedule"]:
        subscription = drop(ledger, subscription)
    start, end = subscription["items"]["data"][0]["current_period_start"], subscriptions.period_end(subscription)
    later = subscriptions.advance(subscriptions.with_items(subscription, items))
    schedule = _schedule(ledger, subscription) | {
        "current_phase": {"end_date": end, "start_date": start},
        "phases": [
            _phase(subscription, subscription["items"]["data"], start, end),
            _phase(subscription, items, end, subscriptions.period_end(later)),
        ],
    }
    ledger.documents.put("scheduled_items", schedule["id"], {"items": items})
    events.emit(ledger, "subscription_schedule.created", ledger.save(schedule))
    return subscriptions.change(ledger, subscription, schedule=schedule["id"])


def apply_due(ledger: Ledger, subscription: Document) -> Document:
    """The subscription with the items that its next period is to have, not saved; the schedule has done its work."""
    if not subscription["schedule"]:
        return subscription
    schedule = ledger.get("subscription_schedule", subscription["schedule"])
    wanted = ledger.documents.get("scheduled_items", schedule["id"]) or {"items": subscription["items"]["data"]}
    old = {item["id"]: item for item in subscription["items"]["data"]}
    items = [
        item | {name: old[item["id"]][name] for name in ("current_period_start", "current_period_end")}
        for item in wanted["items"]
    ]
    _release(ledger, schedule)
    return subscriptions.with_items(subscription, items) | {"schedule": None}


def drop(ledger: Ledger, subscription: Document) -> Document:
    """The subscription stays as it is: what was wished for the next period is forgotten."""
    _release(ledger, ledger.get("subscription_schedule", subscription["schedule"]))
    return subscriptions.change(ledger, subscription, schedule=None)


def release(ledger: Ledger, _: Params, key: str) -> Document:
    """The schedule, released: the subscription goes on without it. Raises Fault unless it is active."""
    schedule = ledger.get("subscription_schedule", key)
    if schedule["status"] != "active":
        raise Fault(f"You cannot release a subscription schedule that is {schedule['status']}.")
    drop(ledger, ledger.get("subscription", schedule["subscription"]))
    return ledger.get("subscription_schedule", key)


def list_schedules(ledger: Ledger, params: ScheduleListing) -> Document:
    """A page of schedules."""
    where = given(params, "customer")
    return ledger.page("subscription_schedule", "/v1/subscription_schedules", params, where)


def wanted_later(ledger: Ledger, subscription: Document) -> Document | None:
    """The first item that the next period is to have, or None if nothing will change."""
    kept = ledger.documents.get("scheduled_items", subscription["schedule"]) if subscription["schedule"] else None
    return kept["items"][0] if kept else None


def _release(ledger: Ledger, schedule: Document) -> None:
    released = schedule | {
        "current_phase": None,
        "released_at": ledger.now(),
        "released_subscription": schedule["subscription"],
        "status": "released",
        "subscription": None,
    }
    events.emit(ledger, "subscription_schedule.released", ledger.save(released))


def _schedule(ledger: Ledger, subscription: Document) -> Document:
    nothing: Document = dict.fromkeys(
        ("application", "canceled_at", "completed_at", "customer_account", "released_at", "released_subscription")
    )
    return {
        "id": ledger.new_id("sub_sched"),
        "object": "subscription_schedule",
        **nothing,
        "billing_mode": subscription["billing_mode"],
        "created": ledger.now(),
        "customer": subscription["customer"],
        "default_settings": {"billing_cycle_anchor": "automatic", "collection_method": "charge_automatically"},
        "end_behavior": "release",
        "livemode": False,
        "metadata": {},
        "pause_schedules": [],
        "status": "active",
        "subscription": subscription["id"],
        "test_clock": subscription["test_clock"],
    }


def _phase(subscription: Document, items: list[Document], start: int, end: int) -> Document:
    return {
        "add_invoice_items": [],
        "currency": subscription["currency"],
        "discounts": [],
        "end_date": end,
        "items": [
            {
                "discounts": [],
                "metadata": {},
                "plan": item["plan"]["id"],
                "price": item["price"]["id"],
                "quantity": item["quantity"],
                "tax_rates": [],
            }
            for item in items
        ],
        "metadata": {},
        "proration_behavior": "none",
        "start_date": start,
    }


ENDPOINTS = [
    Endpoint("GET", "/subscription_schedules", list_schedules, ScheduleListing),
    retrieve("/subscription_schedules", "subscription_schedule"),
    Endpoint("POST", "/subscription_schedules/{id}/release", release),
]
