"""The hosted page of an invoice: what it is for, and how to pay it if it is still open; and its PDF."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controller.sandbox.documents import Document
from controller.sandbox.stripe import cards, challenges, collection, entries, invoices, papers, visits
from controller.sandbox.stripe.entries import Entry
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger


async def show(request: Request) -> Response:
    """The invoice; with ``refused`` in the address, why its payment failed."""
    ledger = visits.account(request)
    invoice = _shown(ledger, request)
    refused = entries.known(request.query_params.get("refused"))
    return _page(ledger, invoice, Entry(errors={"payment": refused} if refused else {}))


async def pay(request: Request) -> Response:
    """The invoice is paid with the saved card or the one that was typed, or the page says why not."""
    fields = await visits.form(request)
    ledger = visits.account(request)
    invoice = _shown(ledger, request)
    back = f"/i/{invoice['id']}"
    if invoice["status"] != "open":
        return visits.onward(request, back)
    saved = None if fields else _saved(ledger, invoice)
    entry = Entry() if saved else entries.read(fields)
    if entry.errors:
        return _page(ledger, invoice, entry, status=422)
    asks = cards.first_payment_asks(saved) if saved else cards.TEST_CARDS[entry.token or ""].authenticates != "never"
    if asks:
        return visits.onward(request, _challenge(ledger, invoice, saved, entry))
    try:
        with ledger.documents.transaction():
            challenges.pay_invoice(ledger, invoice, entry.token or "", saved["id"] if saved else None)
    except Fault as fault:
        entry.errors["payment"] = entries.refusal(fault)
        return _page(ledger, invoice, entry, status=402)
    return visits.onward(request, back)


async def show_pdf(request: Request) -> Response:
    """The invoice as a PDF."""
    ledger = visits.account(request)
    invoice = _shown(ledger, request)
    name = f"{invoice['number']}.pdf"
    headers = {"Content-Disposition": f'inline; filename="{name}"'}
    body = papers.of_invoice(invoice, visits.merchant(ledger))
    return Response(body, media_type="application/pdf", headers=headers)


def _shown(ledger: Ledger, request: Request) -> Document:
    invoice = ledger.get("invoice", request.path_params["id"])
    if invoice["status"] == "draft":
        raise Fault("This invoice is still a draft.", status=404)
    return invoice


def _saved(ledger: Ledger, invoice: Document) -> Document | None:
    subscription = ledger.get("subscription", invoices.subscription_of(invoice))
    method = collection.paying_method(ledger, subscription)
    return method if method and method["card"] else None


def _locale(ledger: Ledger, invoice: Document) -> str | None:
    customer = ledger.get("customer", invoice["customer"])
    return next(iter(customer.get("preferred_locales") or []), None)


def _challenge(ledger: Ledger, invoice: Document, saved: Document | None, entry: Entry) -> str:
    token = _token_of(saved) if saved else entry.token or ""
    return challenges.ask(
        ledger, "invoice", invoice["id"], token, method=saved["id"] if saved else None,
        amount=invoice["amount_remaining"], currency=invoice["currency"], locale=_locale(ledger, invoice),
        back=f"/i/{invoice['id']}", then=f"/i/{invoice['id']}",
    )  # fmt: skip


def _token_of(method: Document) -> str:
    return next(token for token, card in cards.TEST_CARDS.items() if card.last4 == method["card"]["last4"])


def _page(ledger: Ledger, invoice: Document, entry: Entry, *, status: int = 200) -> Response:
    return visits.page(
        ledger, "invoice.html", _locale(ledger, invoice), status=status, title=invoice["number"], invoice=invoice,
        payable=invoice["status"] == "open", saved=_saved(ledger, invoice), typed=entry.typed, errors=entry.errors,
        action=f"/i/{invoice['id']}",
    )  # fmt: skip


ROUTES = [
    Route("/i/{id}", show, methods=["GET"]),
    Route("/i/{id}", pay, methods=["POST"]),
    Route("/i/{id}/pdf", show_pdf, methods=["GET"]),
]
