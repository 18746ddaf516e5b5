"""The hosted pages that a person sees in the demo: Checkout, and a payment link's way to it."""

from __future__ import annotations

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from controller.sandbox.documents import Document
from controller.sandbox.stripe import checkout, links
from controller.sandbox.stripe.forms import decode
from controller.sandbox.stripe.ledger import Call, Ledger

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Checkout (stand-in)</title>
<style>body{{font:16px/1.5 system-ui;max-width:26rem;margin:4rem auto;padding:0 1rem}}
button{{font:inherit;padding:.7rem 1rem}}
input{{font:inherit;padding:.5rem;width:100%;box-sizing:border-box;margin-bottom:1rem}}</style>
<h1>{title}</h1><p>This is a stand-in for Stripe. No money moves.</p>{content}</html>"""


async def show_checkout(request: Request) -> Response:
    """The page of a session: what it costs, and the ways to end it."""
    session = _ledger(request).get("checkout.session", request.path_params["id"])
    if session["status"] != "open":
        return _page("This session is over", f"<p>Status: {escape(session['status'])}</p>")
    return _page(_price(session), _form(session))


async def submit_checkout(request: Request) -> Response:
    """End the session as the pressed button says, and send the buyer back to the shop."""
    ledger = _ledger(request)
    fields = decode((await request.body()).decode())
    key = request.path_params["id"]
    session = ledger.get("checkout.session", key)
    if fields.get("outcome") == "cancel":
        return RedirectResponse(session["cancel_url"] or session["success_url"], status_code=303)
    outcome = "unpaid" if fields.get("outcome") == "unpaid" else "paid"
    with ledger.documents.transaction():
        session, _, _ = checkout.complete(ledger, key, outcome, fields.get("email") or None)
    request.app.state.sender.wake()
    return RedirectResponse(session["success_url"].replace("{CHECKOUT_SESSION_ID}", key), status_code=303)


async def follow_link(request: Request) -> Response:
    """Open the payment link: a new session and the way to its page."""
    ledger = _ledger(request)
    with ledger.documents.transaction():
        session = links.open_link(ledger, request.path_params["id"])
    return RedirectResponse(session["url"], status_code=303)


async def show_end(_: Request) -> Response:
    """Where a payment link without an address of its own ends."""
    return _page("Thank you", "<p>The order is complete.</p>")


def _ledger(request: Request) -> Ledger:
    ledger: Ledger = request.app.state.ledger
    ledger.call = Call(base_url=str(request.base_url).rstrip("/"))
    return ledger


def _price(session: Document) -> str:
    return f"{session['amount_total'] / 100:.2f} {session['currency'].upper()} a month"


def _form(session: Document) -> str:
    email = (
        ""
        if session["customer_email"] or session["customer"]
        else '<input name="email" type="email" placeholder="E-mail" required>'
    )
    return (
        f'<form method="post">{email}'
        '<button name="outcome" value="paid">Pay by card</button> '
        '<button name="outcome" value="unpaid">Pay by boleto</button> '
        '<button name="outcome" value="cancel" formnovalidate>Cancel</button></form>'
    )


def _page(title: str, content: str) -> Response:
    return HTMLResponse(_PAGE.format(title=escape(title), content=content))


ROUTES = [
    Route("/c/pay/{id}", show_checkout, methods=["GET"]),
    Route("/c/pay/{id}", submit_checkout, methods=["POST"]),
    Route("/l/{id}", follow_link, methods=["GET"]),
    Route("/done", show_end, methods=["GET"]),
]
