"""The hosted pages of a purchase: Checkout, a payment link's way to it, and the boleto that follows."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controller.sandbox.documents import Document
from controller.sandbox.stripe import (
    cards,
    challenges,
    checkout,
    entries,
    invoice_pages,
    links,
    purchases,
    visits,
)  # fmt: skip
from controller.sandbox.stripe.entries import Entry
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.looks import sentence


async def show_checkout(request: Request) -> Response:
    """The page of a session: what it costs and how to pay; or that it is over."""
    ledger = visits.account(request)
    session = ledger.get("checkout.session", request.path_params["id"])
    entry = Entry()
    if refused := entries.known(request.query_params.get("refused")):
        entry.errors["payment"] = refused
    return _checkout(ledger, session, entry)


async def submit_checkout(request: Request) -> Response:
    """The session is paid and its buyer on the way back to the shop, or is told what is wrong."""
    fields = await visits.form(request)
    ledger = visits.account(request)
    session = ledger.get("checkout.session", request.path_params["id"])
    if "outcome" in fields:
        return _press(request, ledger, session, fields["outcome"], fields.get("email"))
    if session["status"] != "open":
        return _checkout(ledger, session, Entry())
    entry = entries.read(fields, wants_email=_email(ledger, session) is None)
    if entry.errors:
        return _checkout(ledger, session, entry, status=422)
    buyer = purchases.Buyer(entry.typed["email"] or None, _name(entry), entry.token)
    if buyer.card and cards.TEST_CARDS[buyer.card].authenticates != "never":
        return visits.onward(request, _challenge(ledger, session, buyer))
    try:
        with ledger.documents.transaction():
            session, _, _ = purchases.finish(ledger, session, buyer)
    except Fault as fault:
        entry.errors["payment"] = entries.refusal(fault)
        return _checkout(ledger, session, entry, status=402)
    return visits.onward(request, _success(session) if buyer.card else f"/c/boleto/{session['id']}")


async def submit_code(request: Request) -> Response:
    """The session with the promotion code that was typed, or without the one it had."""
    fields = await visits.form(request)
    ledger = visits.account(request)
    session = ledger.get("checkout.session", request.path_params["id"])
    if session["status"] == "open" and session["allow_promotion_codes"]:
        try:
            checkout.apply_code(ledger, session, str(fields.get("code", "")))
        except Fault:
            return _checkout(ledger, session, Entry(errors={"code": "wrong_code"}), status=422)
    return visits.onward(request, f"/c/pay/{session['id']}")


async def show_boleto(request: Request) -> Response:
    """The boleto of a session that waits for its money, and the sandbox's ways to end the wait."""
    ledger = visits.account(request)
    session = ledger.get("checkout.session", request.path_params["id"])
    found = purchases.voucher(ledger, session["id"])
    return visits.page(
        ledger, "boleto.html", session["locale"], title="Boleto", voucher=found, back=_success(session),
        paid=session["payment_status"] == "paid", amount=session["amount_total"], currency=session["currency"],
        digits=_as_printed(found["number"]) if found else "",
        action=f"/c/boleto/{session['id']}",
    )  # fmt: skip


async def settle_boleto(request: Request) -> Response:
    """The boleto is paid, or will not be."""
    fields = await visits.form(request)
    ledger = visits.account(request)
    session = ledger.get("checkout.session", request.path_params["id"])
    if purchases.voucher(ledger, session["id"]):
        with ledger.documents.transaction():
            purchases.arrive(ledger, session, paid=fields.get("outcome") == "paid")
    return visits.onward(request, f"/c/boleto/{session['id']}")


async def follow_link(request: Request) -> Response:
    """Open the payment link: a new session and the way to its page."""
    ledger = visits.account(request)
    link = ledger.get("payment_link", request.path_params["id"])
    reference = request.query_params.get("client_reference_id")
    email = request.query_params.get("prefilled_email")
    locale = request.query_params.get("locale")
    if not link["active"]:
        return visits.page(ledger, "message.html", locale, status=410, title=sentence("link_off", locale))
    with ledger.documents.transaction():
        session = links.open_link(ledger, link["id"], reference=reference, email=email, locale=locale)
    return visits.onward(request, session["url"])


async def show_end(request: Request) -> Response:
    """Where a payment link without an address of its own ends."""
    locale = request.query_params.get("locale")
    title, text = sentence("thanks", locale), sentence("order_complete", locale)
    return visits.page(visits.account(request), "message.html", locale, title=title, text=text)


def _press(request: Request, ledger: Ledger, session: Document, outcome: str, email: str | None) -> Response:
    """The buttons of a script: ``paid``, ``unpaid`` or ``cancel`` without a card."""
    if outcome == "cancel":
        return visits.onward(request, session["cancel_url"] or session["success_url"])
    with ledger.documents.transaction():
        session, _, _ = purchases.complete(ledger, session["id"], "unpaid" if outcome == "unpaid" else "paid", email)
    return visits.onward(request, _success(session))


def _challenge(ledger: Ledger, session: Document, buyer: purchases.Buyer) -> str:
    return challenges.ask(
        ledger, "checkout", session["id"], buyer.card or "", email=buyer.email, name=buyer.name,
        amount=session["amount_total"], currency=session["currency"], locale=session["locale"],
        back=f"/c/pay/{session['id']}", then=_success(session),
    )  # fmt: skip


def _as_printed(number: str) -> str:
    """The 47 digits in the groups of a boleto."""
    groups = (number[:5], number[5:10], number[10:15], number[15:21], number[21:26], number[26:32])
    return "{}.{} {}.{} {}.{}".format(*groups) + f" {number[32:33]} {number[33:]}"


def _success(session: Document) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _name(entry: Entry) -> str | None:
    return entry.typed["name" if entry.typed["method"] == "boleto" else "holder"] or None


def _email(ledger: Ledger, session: Document) -> str | None:
    if session["customer"]:
        found: str | None = ledger.live("customer", session["customer"])["email"]
        return found
    return session["customer_email"] or None


def _checkout(ledger: Ledger, session: Document, entry: Entry, *, status: int = 200) -> Response:
    locale = session["locale"]
    if session["status"] != "open":
        done = session["status"] == "complete"
        return visits.page(
            ledger, "over.html", locale, title=session["status"], done=done,
            back=_success(session) if done else session["cancel_url"],
        )  # fmt: skip
    lines = checkout.bought(ledger, session["id"])
    return visits.page(
        ledger, "checkout.html", locale, status=status, title=lines[0]["description"], session=session, lines=lines,
        recurring=sum(line["amount_subtotal"] for line in lines), code=_code(ledger, session),
        trial_days=_trial_days(ledger, session), back=session["cancel_url"] or session["success_url"],
        known_email=_email(ledger, session), typed=entry.typed, errors=entry.errors,
        action=f"/c/pay/{session['id']}",
    )  # fmt: skip


def _code(ledger: Ledger, session: Document) -> str | None:
    promoted = [each["promotion_code"] for each in session["discounts"] if each["promotion_code"]]
    return ledger.get("promotion_code", promoted[0])["code"] if promoted else None


def _trial_days(ledger: Ledger, session: Document) -> int:
    order = checkout.order_of(ledger, session["id"])
    if order["trial_end"]:
        return max((int(order["trial_end"]) - ledger.now()) // 86_400, 1)
    return int(order["trial_period_days"] or 0)


ROUTES = [
    Route("/c/pay/{id}", show_checkout, methods=["GET"]),
    Route("/c/pay/{id}", submit_checkout, methods=["POST"]),
    Route("/c/pay/{id}/code", submit_code, methods=["POST"]),
    Route("/c/boleto/{id}", show_boleto, methods=["GET"]),
    Route("/c/boleto/{id}", settle_boleto, methods=["POST"]),
    Route("/l/{id}", follow_link, methods=["GET"]),
    Route("/done", show_end, methods=["GET"]),
    *challenges.ROUTES,
    *invoice_pages.ROUTES,
]
