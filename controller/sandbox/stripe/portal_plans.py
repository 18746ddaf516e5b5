"""The portal's change of plan: the choice, what it costs, and the change."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from controller.sandbox.documents import Document
from controller.sandbox.stripe import billing, changes, entries, portal, prorations, schedules, subscriptions, visits
from controller.sandbox.stripe.catalog import name_of
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.portal_visits import Visit, enter


async def show(request: Request) -> Response:
    """The plans to choose from; with ``price`` in the address, what changing to it means."""
    visit = enter(request)
    visit.feature("subscription_update")
    subscription = visit.subscription()
    wanted = request.query_params.get("price")
    if wanted:
        return _confirm(visit, subscription, wanted)
    currency = subscription["currency"]
    offered = [each for each in portal.choices(visit.ledger, visit.configuration) if each["currency"] == currency]
    return visit.page(
        "portal_plans.html", visit.say("choose_plan"),
        prices=[(price, name_of(visit.ledger, price)) for price in offered],
        current=subscription["items"]["data"][0]["price"]["id"],
    )  # fmt: skip


async def change(request: Request) -> Response:
    """The subscription at the chosen price, now or from the next period; or the page says that the card was refused."""
    fields = await visits.form(request)
    visit = enter(request)
    feature, subscription = visit.feature("subscription_update"), visit.subscription()
    price = _offered(visit, subscription, str(fields.get("price", "")))
    old = subscription["items"]["data"][0]
    item = changes.ItemChange(id=old["id"], price=price["id"])
    try:
        with visit.ledger.documents.transaction():
            if portal.waits_for_period_end(visit.configuration, old["price"], price):
                after = changes.items_after(visit.ledger, subscription, [item])
                schedules.change_later(visit.ledger, subscription, after["data"])
            else:
                wish = changes.SubscriptionUpdate(
                    items=[item],
                    proration_behavior=feature["proration_behavior"],
                    payment_behavior="error_if_incomplete",
                )
                billing.update(visit.ledger, wish, subscription["id"])
    except Fault as fault:
        visit.error = entries.refusal(fault)
        return _confirm(visit, subscription, price["id"], status=402)
    return visit.finish()


def _confirm(visit: Visit, subscription: Document, wanted: str, *, status: int = 200) -> Response:
    price = _offered(visit, subscription, wanted)
    old = subscription["items"]["data"][0]
    after = changes.items_after(visit.ledger, subscription, [changes.ItemChange(id=old["id"], price=price["id"])])
    feature = visit.feature("subscription_update")
    counts = feature["proration_behavior"] != "none" and subscription["status"] != "trialing"
    lines = prorations.lines(visit.ledger, subscription, subscription | {"items": after}) if counts else []
    return visit.page(
        "portal_confirm.html", visit.say("confirm_change"), status=status, price=price, lines=lines,
        name=name_of(visit.ledger, price), old_name=name_of(visit.ledger, old["price"]), quantity=old["quantity"],
        waits=portal.waits_for_period_end(visit.configuration, old["price"], price),
        at_once=feature["proration_behavior"] == "always_invoice",
        due=sum(line["amount"] for line in lines), period_end=subscriptions.period_end(subscription),
    )  # fmt: skip


def _offered(visit: Visit, subscription: Document, wanted: str) -> Document:
    offered = portal.choices(visit.ledger, visit.configuration)
    for price in offered:
        if price["id"] == wanted and price["currency"] == subscription["currency"]:
            return price
    raise Fault("This plan is not offered here.", status=404)
