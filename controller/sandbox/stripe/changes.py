"""What an update asks of a subscription, as the fields that it is to have."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.sandbox.documents import Document
from controller.sandbox.stripe import customers, discounts, schedules, subscriptions
from controller.sandbox.stripe.discounts import DiscountChoice
from controller.sandbox.stripe.faults import Fault, missing
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Metadata, Params, merged

Feedback = Literal[
    "customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex",
    "too_expensive", "unused",
]  # fmt: skip


class CancellationDetails(Params):
    """Why a customer leaves, in their words and Stripe's."""

    comment: str | None = Field(default=None, max_length=5000)
    feedback: Feedback | None = None


class ItemChange(Params):
    """A change of one item; without ``id`` a new item, as Stripe has it."""

    id: str | None = None
    price: str | None = None
    quantity: int | None = Field(default=None, ge=1)
    deleted: bool = False


class PauseCollection(Params):
    """Invoices are made and not collected, until ``resumes_at`` if given."""

    behavior: Literal["keep_as_draft", "mark_uncollectible", "void"]
    resumes_at: int | None = None


class SubscriptionUpdate(Params):
    """What may change on a subscription."""

    items: list[ItemChange] | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool | None = None
    cancellation_details: CancellationDetails | None = None
    default_payment_method: str | None = None
    description: str | None = None
    discounts: list[DiscountChoice] | None = None
    metadata: Metadata | None = None
    off_session: bool | None = None
    pause_collection: PauseCollection | None = None
    payment_behavior: Literal["allow_incomplete", "error_if_incomplete"] = "allow_incomplete"
    proration_behavior: Literal["create_prorations", "always_invoice", "none"] = "create_prorations"
    trial_end: int | Literal["now"] | None = None


def wanted(ledger: Ledger, old: Document, params: SubscriptionUpdate) -> Document:
    """The fields that differ after the update. Raises Fault for a wish that cannot be had."""
    given = params.model_fields_set
    fields: Document = {}
    if "metadata" in given:
        fields["metadata"] = merged(old["metadata"], params.metadata)
    if "description" in given:
        fields["description"] = params.description
    if params.default_payment_method:
        card = customers.owned_card(ledger, old["customer"], params.default_payment_method)
        fields["default_payment_method"] = card["id"]
    if "pause_collection" in given:
        pause = params.pause_collection
        fields["pause_collection"] = pause.model_dump(exclude={"expand"}) if pause else None
    if old["schedule"] and (params.items or params.cancel_at_period_end or params.cancel_at):
        schedules.drop(ledger, old)
        fields["schedule"] = None
    if params.items:
        fields["items"] = items_after(ledger, old, params.items)
    fields |= _ending(ledger, old, params) | _trial(ledger, old, params)
    if "discounts" in given:
        fields["discounts"] = discounts.give(ledger, params.discounts or (), old | fields)
    return fields


def items_after(ledger: Ledger, old: Document, changes: list[ItemChange]) -> Document:
    """The subscription's list of items after the changes. Raises Fault if none would be left."""
    items = {item["id"]: item for item in old["items"]["data"]}
    for change in changes:
        if change.id not in items:
            raise missing("subscription_item", change.id or "", param="items[0][id]", status=400)
        if change.deleted:
            del items[change.id]
            continue
        item = items[change.id]
        price = subscriptions.recurring_price(ledger, change.price) if change.price else item["price"]
        items[change.id] = subscriptions.with_price(item, price, change.quantity or item["quantity"])
    if not items:
        raise Fault("A subscription must have at least one active plan.", param="items")
    after: Document = subscriptions.with_items(old, list(items.values()))["items"]
    return after


def _ending(ledger: Ledger, old: Document, params: SubscriptionUpdate) -> Document:
    details = old["cancellation_details"]
    if params.cancellation_details:
        details = details | params.cancellation_details.model_dump(exclude={"expand"}, exclude_unset=True)
    by_time = "cancel_at" in params.model_fields_set
    if params.cancel_at_period_end is None and not by_time:
        return {"cancellation_details": details} if params.cancellation_details else {}
    if params.cancel_at_period_end and by_time and params.cancel_at is not None:
        raise Fault("You may only specify one of these parameters: cancel_at, cancel_at_period_end.")
    at = subscriptions.period_end(old) if params.cancel_at_period_end else params.cancel_at
    if at is not None and by_time and at <= ledger.now():
        raise Fault("cancel_at must be in the future.", param="cancel_at")
    if at is None:
        details = details | {"comment": None, "feedback": None}
    return {
        "cancel_at_period_end": bool(params.cancel_at_period_end),
        "cancel_at": at,
        "canceled_at": ledger.now() if at else None,
        "cancellation_details": details | {"reason": "cancellation_requested" if at else None},
    }


def _trial(ledger: Ledger, old: Document, params: SubscriptionUpdate) -> Document:
    if params.trial_end is None or params.trial_end == "now":
        return {}
    if old["status"] != "trialing":
        raise Fault("This stand-in moves the end of a running trial only.", param="trial_end")
    if params.trial_end <= ledger.now():
        raise Fault("Trial end must be in the future.", param="trial_end")
    items = [item | {"current_period_end": params.trial_end} for item in old["items"]["data"]]
    return {
        "trial_end": params.trial_end,
        "billing_cycle_anchor": params.trial_end,
        "items": subscriptions.with_items(old, items)["items"],
    }
