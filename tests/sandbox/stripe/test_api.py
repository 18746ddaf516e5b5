"""Stripe's manners: keys, errors, idempotency, lists, expansion, shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import stripe

from tests.sandbox.stripe.account import Account
from tests.sandbox.stripe.conftest import account_in


@pytest.mark.parametrize("key", ["sk_live_real", "nonsense"])
def test_a_key_that_is_no_test_key_is_refused(account: Account, key: str) -> None:
    stranger = stripe.StripeClient(key, base_addresses={"api": account.base}, max_network_retries=0)
    with pytest.raises(stripe.AuthenticationError) as refused:
        stranger.v1.customers.list()
    assert refused.value.http_status == 401


def test_a_missing_object_is_named_in_stripes_words(account: Account) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription: 'sub_none'") as refused:
        account.api.v1.subscriptions.retrieve("sub_none")
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"unit_amount": 1, "product": "prod_x"}, "parameter_missing", "currency"),
        ({"unit_amount": "much", "currency": "usd"}, "parameter_invalid_integer", "unit_amount"),
        ({"unit_amount": 1, "currency": "usd", "colour": "red"}, "parameter_unknown", "colour"),
        ({"unit_amount": 1, "currency": "usd", "product": "prod_x"}, "resource_missing", "product"),
    ],
)
def test_wrong_parameters_are_named(account: Account, fields: Any, code: str, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        account.api.v1.prices.create(fields)
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


def test_an_idempotency_key_makes_one_object_of_two_requests(account: Account) -> None:
    options: Any = {"idempotency_key": "draft:1"}
    first = account.api.v1.customers.create({"email": "a@example.com"}, options)
    second = account.api.v1.customers.create({"email": "a@example.com"}, options)
    assert (first.id, len(account.api.v1.customers.list().data)) == (second.id, 1)
    assert second.last_response is not None
    assert second.last_response.headers["idempotent-replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        account.api.v1.customers.create({"email": "b@example.com"}, options)


def test_a_lookup_key_finds_its_price_and_moves_only_when_told(account: Account) -> None:
    old = account.price("starter", 1900)
    assert [p.id for p in account.api.v1.prices.list({"lookup_keys": ["starter", "none"]}).data] == [old]
    fields: Any = {"currency": "usd", "unit_amount": 2100, "product_data": {"name": "S"}, "lookup_key": "starter"}
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        account.api.v1.prices.create(fields)
    fields["transfer_lookup_key"] = True
    new = account.api.v1.prices.create(fields)
    assert [p.id for p in account.api.v1.prices.list({"lookup_keys": ["starter"]}).data] == [new.id]


def test_pages_lead_through_everything_newest_first(account: Account) -> None:
    made = [account.api.v1.customers.create({"name": f"c{n}"}).id for n in range(7)]
    first = account.api.v1.customers.list({"limit": 3})
    walked = [customer.id for customer in first.auto_paging_iter()]
    assert first.has_more
    assert walked == made[::-1]
    back = account.api.v1.customers.list({"limit": 2, "ending_before": walked[4]})
    assert [customer.id for customer in back.data] == walked[2:4]


def test_a_deleted_customers_subscriptions_are_canceled(account: Account) -> None:
    subscription = account.subscribe(account.price())
    assert account.api.v1.customers.delete(str(subscription.customer)).deleted
    assert account.api.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert account.api.v1.customers.list().data == []


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    with account_in(tmp_path) as account:
        ids = account.bought(account.price())
    with account_in(tmp_path) as account:
        assert account.api.v1.subscriptions.retrieve(ids["subscription"]).status == "active"
        assert account.api.v1.invoices.retrieve(ids["invoice"]).status == "paid"


def test_another_api_version_is_refused(account: Account) -> None:
    headers = {"Authorization": "Bearer sk_test_x", "Stripe-Version": "2024-06-20"}
    answer = httpx.get(f"{account.base}/v1/customers", headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def _charge(account: Account) -> stripe.Charge:
    account.bought(account.price())
    return account.api.v1.charges.list().data[0]


def _promotion_code(account: Account) -> stripe.PromotionCode:
    coupon = account.api.v1.coupons.create({"percent_off": 10, "duration": "forever"})
    return account.api.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})


def _configuration(account: Account) -> stripe.billing_portal.Configuration:
    return account.api.v1.billing_portal.configurations.create({"features": {"invoice_history": {"enabled": True}}})


SHAPES: list[tuple[type[stripe.StripeObject], Callable[[Account], Any]]] = [
    (stripe.Product, lambda a: a.api.v1.products.create({"name": "P"})),
    (stripe.Price, lambda a: a.api.v1.prices.retrieve(a.price())),
    (stripe.Customer, lambda a: a.api.v1.customers.create({})),
    (stripe.PaymentMethod, lambda a: a.api.v1.payment_methods.attach("pm_card_visa", {"customer": a.customer()})),
    (stripe.checkout.Session, lambda a: a.session(a.price())),
    (stripe.Subscription, lambda a: a.subscribe(a.price())),
    (stripe.SubscriptionItem, lambda a: a.subscribe(a.price())["items"].data[0]),
    (stripe.Invoice, lambda a: a.api.v1.invoices.retrieve(a.bought(a.price())["invoice"])),
    (stripe.InvoiceLineItem, lambda a: a.api.v1.invoices.retrieve(a.bought(a.price())["invoice"]).lines.data[0]),
    (
        stripe.PaymentLink,
        lambda a: a.api.v1.payment_links.create({"line_items": [{"price": a.price(), "quantity": 1}]}),
    ),
    (stripe.WebhookEndpoint, lambda a: a.api.v1.webhook_endpoints.create({"url": "http://h", "enabled_events": ["*"]})),
    (stripe.Charge, lambda a: _charge(a)),
    (stripe.PaymentIntent, lambda a: a.api.v1.payment_intents.retrieve(str(_charge(a).payment_intent))),
    (stripe.InvoicePayment, lambda a: a.bought(a.price()) and a.api.v1.invoice_payments.list().data[0]),
    (stripe.Refund, lambda a: a.api.v1.refunds.create({"charge": _charge(a).id})),
    (
        stripe.Dispute,
        lambda a: a.steer(f"charges/{_charge(a).id}/dispute") and a.api.v1.disputes.list().data[0],
    ),
    (stripe.Coupon, lambda a: a.api.v1.coupons.create({"percent_off": 10})),
    (stripe.PromotionCode, lambda a: _promotion_code(a)),
    (
        stripe.Discount,
        lambda a: a.subscribe(
            a.price(), discounts=[{"promotion_code": _promotion_code(a).id}], expand=["discounts"]
        ).discounts[0],
    ),
    (stripe.test_helpers.TestClock, lambda a: a.api.v1.test_helpers.test_clocks.create({"frozen_time": 1})),
    (stripe.billing_portal.Configuration, lambda a: _configuration(a)),
    (
        stripe.billing_portal.Session,
        lambda a: a.api.v1.billing_portal.sessions.create(
            {"customer": a.customer(), "configuration": _configuration(a).id}
        ),
    ),
    (stripe.Event, lambda a: a.price() and a.api.v1.events.list().data[0]),
]


@pytest.mark.parametrize(("shape", "make"), SHAPES, ids=[shape.__name__ for shape, _ in SHAPES])
def test_objects_have_every_field_that_stripes_library_says_is_always_there(
    account: Account, shape: type[stripe.StripeObject], make: Callable[[Account], Any]
) -> None:
    always = {
        name
        for name, hint in shape.__annotations__.items()
        if name.islower() and not name.startswith("_") and type(None) not in get_args(hint)
    }
    item = make(account)
    assert {name for name in always if item.to_dict().get(name) is None} == set()
