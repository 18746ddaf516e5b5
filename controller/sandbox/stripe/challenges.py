"""3D Secure: a test bank asks the card's holder, and what was begun goes on or not."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controller.sandbox.documents import Document
from controller.sandbox.stripe import cards, customers, entries, invoicing, purchases, visits
from controller.sandbox.stripe.cards import Verdict
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger


def ask(ledger: Ledger, kind: str, target: str, token: str, **more: object) -> str:
    """The address of a challenge page for the card ``token``.

    ``kind`` says what goes on afterwards: ``checkout`` (target: a session), ``invoice``, or ``card`` (target: a
    customer, the new card's owner). ``more``: amount, currency, locale, and ``back`` and ``then``, the pages to go to
    when it is refused or done.
    """
    key = ledger.new_id("3ds")
    ledger.documents.put("challenge", key, {"id": key, "kind": kind, "target": target, "token": token, **more})
    return f"/authenticate/{key}"


async def show(request: Request) -> Response:
    """The bank's page."""
    ledger = visits.account(request)
    found = _found(ledger, request)
    facts = {name: found[name] for name in ("amount", "currency")}
    last4 = cards.by_token(found["token"]).last4
    action = f"/authenticate/{found['id']}"
    return visits.page(
        ledger, "challenge.html", found["locale"], title="3D Secure", last4=last4, action=action, **facts
    )


async def answer(request: Request) -> Response:
    """What was begun goes on, or the way back with the reason why not."""
    fields = await visits.form(request)
    ledger = visits.account(request)
    found = _found(ledger, request)
    ledger.documents.remove("challenge", found["id"])
    refused = "authentication_failure"
    if fields.get("answer") == "approve":
        try:
            with ledger.documents.transaction():
                _go_on(ledger, found)
            return visits.onward(request, found["then"])
        except Fault as fault:
            refused = entries.refusal(fault)
    return visits.onward(request, f"{found['back']}?refused={refused}")


def _go_on(ledger: Ledger, found: Document) -> None:
    if found["kind"] == "checkout":
        session = ledger.get("checkout.session", found["target"])
        purchases.finish(ledger, session, purchases.Buyer(found["email"], found["name"], found["token"]))
    elif found["kind"] == "invoice":
        invoice = ledger.get("invoice", found["target"])
        pay_invoice(ledger, invoice, found["token"], found["method"])
    else:
        invoicing.new_card(ledger, found["target"], found["token"], found["subscription"])


def pay_invoice(ledger: Ledger, invoice: Document, token: str, method_id: str | None = None) -> Document:
    """The invoice, paid with the saved method or a new card whose holder has agreed. Raises Fault if refused."""
    ledger.keep_time_of(ledger.get("customer", invoice["customer"]))
    if method_id is None:
        method = customers.attach(ledger, customers.Attach(customer=invoice["customer"]), token)
    else:
        method = customers.owned_card(ledger, invoice["customer"], method_id)
    verdict: Verdict = cards.verdict(method, authenticated=True)
    return invoicing.pay_with(ledger, invoice, method, verdict)


def _found(ledger: Ledger, request: Request) -> Document:
    found = ledger.documents.get("challenge", request.path_params["id"])
    if found is None:
        raise Fault("This confirmation is over.", status=404)
    return found


ROUTES = [
    Route("/authenticate/{id}", show, methods=["GET"]),
    Route("/authenticate/{id}", answer, methods=["POST"]),
]
