"""The billing portal as its customer sees it: the plan, the card, the invoices, and the way back."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controller.sandbox.documents import Document
from controller.sandbox.stripe import (
    billing,
    cards,
    challenges,
    changes,
    customers,
    entries,
    invoicing,
    portal_plans,
    schedules,
    subscriptions,
    visits,
)  # fmt: skip
from controller.sandbox.stripe.catalog import name_of
from controller.sandbox.stripe.entries import Entry
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.portal_visits import Visit, enter

SHOWN_INVOICES = 24


async def show_home(request: Request) -> Response:
    """The portal's front page, or the one page that the session was made for."""
    visit = enter(request)
    if page := visit.flow_page():
        return visit.onward(page)
    ledger, customer = visit.ledger, visit.customer
    invoices = [each for each in ledger.all("invoice", {"customer": customer["id"]}) if each["status"] != "draft"]
    return visit.page(
        "portal.html", visit.say("billing"),
        rows=[_row(visit, each) for each in _shown(visit)],
        methods=ledger.all("payment_method", {"customer": customer["id"]})[::-1],
        default=_default(visit),
        invoices=invoices[::-1][:SHOWN_INVOICES],
    )  # fmt: skip


async def show_cancel(request: Request) -> Response:
    """What cancelling means, and the button for it."""
    visit = enter(request)
    feature = visit.feature("subscription_cancel")
    subscription = visit.subscription()
    return visit.page(
        "portal_cancel.html", visit.say("cancel_title"),
        at_period_end=feature["mode"] == "at_period_end", period_end=subscriptions.period_end(subscription),
        reasons=feature["cancellation_reason"]["options"] if feature["cancellation_reason"]["enabled"] else [],
    )  # fmt: skip


async def cancel(request: Request) -> Response:
    """The subscription ends, now or at its period's end as the configuration says."""
    fields = await visits.form(request)
    visit = enter(request)
    feature, key = visit.feature("subscription_cancel"), visit.subscription()["id"]
    details = changes.CancellationDetails.model_validate(
        {"feedback": fields["feedback"]} if fields.get("feedback") in feature["cancellation_reason"]["options"] else {}
    )
    with visit.ledger.documents.transaction():
        if feature["mode"] == "at_period_end":
            wish = changes.SubscriptionUpdate(cancel_at_period_end=True, cancellation_details=details)
            billing.update(visit.ledger, wish, key)
        else:
            prorates = feature["proration_behavior"] != "none"
            wanted = billing.SubscriptionCancel(cancellation_details=details, prorate=prorates)
            billing.cancel(visit.ledger, wanted, key)
    return visit.finish()


async def keep(request: Request) -> Response:
    """The subscription that was to end goes on."""
    visit = enter(request)
    with visit.ledger.documents.transaction():
        wish = changes.SubscriptionUpdate(cancel_at_period_end=False)
        billing.update(visit.ledger, wish, visit.subscription()["id"])
    return visit.finish()


async def stay(request: Request) -> Response:
    """The change of plan that waited for the period's end is forgotten."""
    visit = enter(request)
    subscription = visit.subscription()
    if subscription["schedule"]:
        with visit.ledger.documents.transaction():
            schedules.drop(visit.ledger, subscription)
    return visit.finish()


async def show_card(request: Request) -> Response:
    """The form for another card."""
    visit = enter(request)
    visit.feature("payment_method_update")
    return _card_page(visit, Entry())


async def save_card(request: Request) -> Response:
    """The card that was typed pays from now on, or the page says why not."""
    fields = await visits.form(request)
    visit = enter(request)
    visit.feature("payment_method_update")
    entry = entries.read({**fields, "method": "card"})
    if entry.errors or entry.token is None:
        return _card_page(visit, entry, status=422)
    current = next((each["id"] for each in _shown(visit)), None)
    if cards.TEST_CARDS[entry.token].authenticates != "never":
        where = challenges.ask(
            visit.ledger, "card", visit.customer["id"], entry.token, subscription=current, amount=0,
            currency=visit.customer["currency"] or "usd", locale=visit.locale, back=f"{visit.base}/payment-method",
            then=f"{visit.base}/done",
        )  # fmt: skip
        return visit.onward(where)
    try:
        with visit.ledger.documents.transaction():
            invoicing.new_card(visit.ledger, visit.customer["id"], entry.token, current)
    except Fault as fault:
        visit.error = entries.refusal(fault)
        return _card_page(visit, entry, status=402)
    return visit.finish()


async def show_customer(request: Request) -> Response:
    """The form for name and address."""
    visit = enter(request)
    allowed = visit.feature("customer_update")["allowed_updates"]
    return visit.page("portal_customer.html", visit.say("information"), allowed=allowed)


async def save_customer(request: Request) -> Response:
    """The customer's name and address, as far as they may be changed here."""
    fields = await visits.form(request)
    visit = enter(request)
    allowed = {"name", "email"} & set(visit.feature("customer_update")["allowed_updates"])
    wish = customers.CustomerParams.model_validate({name: fields[name] for name in allowed if name in fields})
    with visit.ledger.documents.transaction():
        customers.update_customer(visit.ledger, wish, visit.customer["id"])
    return visit.finish()


async def finish(request: Request) -> Response:
    """What was begun is done: on to where it leads."""
    return enter(request).finish()


def _shown(visit: Visit) -> list[Document]:
    mine = visit.ledger.all("subscription", {"customer": visit.customer["id"]})
    return [each for each in mine if not subscriptions.is_over(each)][::-1]


def _default(visit: Visit) -> str | None:
    mine = _shown(visit)
    own: str | None = mine[0]["default_payment_method"] if mine else None
    return own or visit.customer["invoice_settings"]["default_payment_method"]


def _row(visit: Visit, subscription: Document) -> Document:
    item = subscription["items"]["data"][0]
    later = schedules.wanted_later(visit.ledger, subscription)
    latest = visit.ledger.documents.get("invoice", subscription["latest_invoice"] or "") or {"status": None}
    behind = subscription["status"] in ("past_due", "unpaid", "incomplete") and latest["status"] == "open"
    return {
        "subscription": subscription,
        "name": name_of(visit.ledger, item["price"]),
        "price": item["price"],
        "quantity": item["quantity"],
        "period_end": item["current_period_end"],
        "later": name_of(visit.ledger, later["price"]) if later else None,
        "owed": latest["hosted_invoice_url"] if behind else None,
    }


def _card_page(visit: Visit, entry: Entry, *, status: int = 200) -> Response:
    title = visit.say("new_card")
    return visit.page("portal_card.html", title, status=status, errors=entry.errors, typed=entry.typed)


_PLAN = "/p/session/{id}/subscriptions/{subscription}"

ROUTES = [
    Route("/p/session/{id}", show_home, methods=["GET"]),
    Route("/p/session/{id}/done", finish, methods=["GET"]),
    Route("/p/session/{id}/payment-method", show_card, methods=["GET"]),
    Route("/p/session/{id}/payment-method", save_card, methods=["POST"]),
    Route("/p/session/{id}/customer", show_customer, methods=["GET"]),
    Route("/p/session/{id}/customer", save_customer, methods=["POST"]),
    Route(f"{_PLAN}/update", portal_plans.show, methods=["GET"]),
    Route(f"{_PLAN}/update", portal_plans.change, methods=["POST"]),
    Route(f"{_PLAN}/cancel", show_cancel, methods=["GET"]),
    Route(f"{_PLAN}/cancel", cancel, methods=["POST"]),
    Route(f"{_PLAN}/keep", keep, methods=["POST"]),
    Route(f"{_PLAN}/stay", stay, methods=["POST"]),
]
