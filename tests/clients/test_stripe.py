"""What Stripe says, as our facts: from events of either invoice shape, and from subscriptions in every state."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe as library
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.clients import stripe
from controller.clients.stripe import SignatureError, Stripe, StripeSettings
from controller.core.errors import NotFound, Permanent, Temporary
from controller.domain.plans import Currency, get
from controller.sandbox.processes import free_port
from tests.api.house import WEBHOOK_SECRET, event, mac, signed
from tests.sandbox.stripe.serving import serving

BODY = event()
SECRET = SecretStr(WEBHOOK_SECRET)


def client(url: str = "http://127.0.0.1:1") -> Stripe:
    return Stripe(StripeSettings(stripe_api_key=SecretStr("sk_test_shop"), stripe_api_url=url))


def subscription(**changed: Any) -> library.Subscription:
    """A subscription as the API answers it, with invoice and customer expanded."""
    item = {
        "current_period_start": 1_790_000_000, "current_period_end": 1_792_592_000,
        "price": {"id": "price_1", "lookup_key": "openclaw_pro_brl_month"},
    }  # fmt: skip
    made: dict[str, Any] = {
        "id": "sub_1", "object": "subscription", "status": "active", "items": {"object": "list", "data": [item]},
        "latest_invoice": {"id": "in_1", "object": "invoice", "status": "paid", "attempt_count": 1},
        "customer": {"id": "cus_1", "object": "customer", "email": "ana@example.com"},
        "cancel_at_period_end": False, "metadata": {},
    }  # fmt: skip
    return library.Subscription.construct_from({**made, **changed}, "sk_test")


def failing(status: int, kind: str) -> Starlette:
    """A Stripe that answers everything with one error and asks for no retry."""

    async def refuse(_: Request) -> Response:
        body = {"error": {"type": kind, "message": "no"}}
        return JSONResponse(body, status, {"stripe-should-retry": "false"})

    return Starlette(routes=[Route("/{path:path}", refuse)])


def test_one_good_signature_among_several_is_enough() -> None:
    at = int(time.time())
    header = f"t={at},v1={mac(BODY, at, 'whsec_old')},v1={mac(BODY, at)},v0=abc"
    assert stripe.verify(BODY, header, SECRET).id == json.loads(BODY)["id"]


@pytest.mark.parametrize("age", [-290, 0, 290])
def test_a_signature_of_the_last_and_the_next_five_minutes_holds(age: int) -> None:
    assert stripe.verify(BODY, signed(BODY, time.time() - age), SECRET).kind == "product.created"


@pytest.mark.parametrize("age", [-310, 310, 10**6, -(10**9)])
def test_a_signature_further_away_does_not(age: int) -> None:
    with pytest.raises(SignatureError):
        stripe.verify(BODY, signed(BODY, time.time() - age), SECRET)


@pytest.mark.parametrize("field", ["id", "type", "data"])
@pytest.mark.parametrize("value", [None, 7, [], "x"])
def test_a_signed_body_that_is_not_an_event_is_refused(field: str, value: Any) -> None:
    if isinstance(value, str) and field != "data":
        value = [value]
    body = json.dumps({**json.loads(BODY), field: value}).encode()
    with pytest.raises(SignatureError):
        stripe.verify(body, signed(body), SECRET)


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        ({"object": "subscription", "id": "sub_1"}, ("sub_1", None)),
        ({"object": "checkout.session", "id": "cs_1", "subscription": "sub_1"}, ("sub_1", "cs_1")),
        ({"object": "checkout.session", "id": "cs_1", "subscription": None}, (None, "cs_1")),
        ({"object": "invoice", "subscription": "sub_1"}, ("sub_1", None)),
        ({"object": "invoice", "parent": {"subscription_details": {"subscription": "sub_1"}}}, ("sub_1", None)),
        ({"object": "invoice", "parent": {"subscription_details": None}}, (None, None)),
        ({"object": "invoice", "parent": None, "subscription": None}, (None, None)),
        ({"object": "invoice"}, (None, None)),
        ({"object": "product", "id": "prod_1"}, (None, None)),
        ({}, (None, None)),
    ],
    ids=str,
)
def test_the_subject_of_an_event_is_found_in_either_shape(thing: dict[str, Any], expected: tuple[Any, Any]) -> None:
    assert stripe.subject({"object": thing}) == expected


@pytest.mark.parametrize(
    ("status", "invoice", "paid", "attempts"),
    [
        ("active", {"status": "paid", "attempt_count": 1}, True, 0),
        ("active", {"status": "paid", "attempt_count": 3}, True, 0),
        ("incomplete", {"status": "open", "attempt_count": 1}, False, 1),
        ("incomplete_expired", {"status": "void", "attempt_count": 1}, False, 1),
        ("trialing", {"status": "paid", "attempt_count": 0}, True, 0),
        ("trialing", None, False, 0),
        ("past_due", {"status": "open", "attempt_count": 2}, False, 2),
        ("unpaid", {"status": "open", "attempt_count": 4}, False, 4),
        ("active", {"status": "draft", "attempt_count": 0}, False, 0),
    ],
)
def test_facts_count_the_attempts_on_an_open_invoice(
    status: str, invoice: dict[str, Any] | None, paid: bool, attempts: int
) -> None:
    found = stripe.facts(subscription(status=status, latest_invoice=invoice), "d")
    assert (found.status, found.paid, found.attempts, found.draft_id) == (status, paid, attempts, "d")


def test_facts_carry_the_period_and_the_price_in_our_terms() -> None:
    found = stripe.facts(subscription(), None)
    assert (found.period_start, found.price_key) == (
        datetime.fromtimestamp(1_790_000_000, UTC), "openclaw_pro_brl_month",
    )  # fmt: skip


def test_a_price_of_somebody_else_is_told_by_its_id() -> None:
    item = {"current_period_start": 1, "current_period_end": 2, "price": {"id": "price_x", "lookup_key": None}}
    assert stripe.facts(subscription(items={"data": [item]}), None).price_key == "price_x"


def test_a_customer_deleted_at_stripe_still_has_facts() -> None:
    gone = {"id": "cus_1", "object": "customer", "deleted": True}
    found = stripe.facts(subscription(status="canceled", customer=gone), None)
    assert (found.stripe_customer_id, found.email) == ("cus_1", "")


def test_a_subscription_without_an_item_needs_a_human() -> None:
    with pytest.raises(Permanent):
        stripe.facts(subscription(items={"data": []}), None)


async def test_a_subscription_that_stripe_does_not_know_is_not_found(shop_url: str) -> None:
    with pytest.raises(NotFound) as caught:
        await client(shop_url).subscription("sub_never")
    assert caught.value.code == "stripe_unknown"


async def test_a_checkout_asked_for_twice_is_the_same_session(shop_url: str) -> None:
    ask: dict[str, Any] = {
        "draft_id": f"d-{time.time_ns()}", "plan": get("pro"), "currency": Currency.USD, "email": "a@example.com",
        "locale": "en", "web_url": "http://localhost:9",
    }  # fmt: skip
    assert await client(shop_url).checkout(**ask) == await client(shop_url).checkout(**ask)


async def test_a_stripe_that_does_not_answer_is_temporary() -> None:
    with pytest.raises(Temporary) as caught:
        await client(f"http://127.0.0.1:{free_port()}").subscription("sub_1")
    assert caught.value.code == "stripe_away"


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (500, "api_error", Temporary), (503, "api_error", Temporary), (429, "rate_limit_error", Temporary),
        (400, "invalid_request_error", Permanent), (401, "invalid_request_error", Temporary),
        (403, "invalid_request_error", Temporary), (404, "invalid_request_error", NotFound),
        (409, "idempotency_error", Temporary),
    ],
)  # fmt: skip
async def test_the_librarys_errors_become_ours(status: int, kind: str, expected: type[Exception]) -> None:
    with serving(failing(status, kind)) as url, pytest.raises(expected):
        await client(url).subscription("sub_1")
