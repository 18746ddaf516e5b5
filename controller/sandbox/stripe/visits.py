"""What every hosted page begins and ends with: the account at hand, the form, the answer."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from controller.sandbox.stripe.forms import decode
from controller.sandbox.stripe.ledger import Call, Ledger
from controller.sandbox.stripe.looks import render


def account(request: Request) -> Ledger:
    """The account, with this visit begun. Call it after the last await: it belongs to one visit at a time."""
    ledger: Ledger = request.app.state.ledger
    ledger.begin(Call(base_url=str(request.base_url).rstrip("/")))
    return ledger


async def form(request: Request) -> dict[str, Any]:
    """The fields that were sent."""
    return decode((await request.body()).decode())


def merchant(ledger: Ledger) -> str:
    """What the seller is called."""
    found = ledger.documents.get("merchant", "only") or {"business_name": "OpenClaw Cloud"}
    return str(found["business_name"])


def page(ledger: Ledger, template: str, locale: str | None, *, status: int = 200, **facts: object) -> Response:
    """The rendered page, never kept by a cache."""
    text = render(template, locale=locale, merchant=merchant(ledger), **facts)
    return HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store"})


def onward(request: Request, url: str) -> Response:
    """The way to the next page; what was written is sent to the webhook endpoints."""
    request.app.state.sender.wake()
    return RedirectResponse(url, status_code=303)
