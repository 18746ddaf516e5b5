"""The account's clock: what happens by itself when it is moved, or time passes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stripe

from controller.core import clock
from controller.sandbox.documents import Documents
from controller.sandbox.stripe import timeline
from controller.sandbox.stripe.ledger import Ledger
from tests.sandbox.stripe.account import Account
from tests.sandbox.stripe.conftest import account_in
from tests.sandbox.stripe.shops import item_of


def _failing(account: Account) -> str:
    """A subscription whose card fails from the first renewal on."""
    subscription = account.subscribe(account.price())
    bad = account.api.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": str(subscription.customer)})
    account.api.v1.subscriptions.update(subscription.id, {"default_payment_method": bad.id})
    return subscription.id


def test_months_pass_and_each_is_billed(account: Account) -> None:
    subscription = account.subscribe(account.price())
    account.pass_days(93)
    invoices = account.api.v1.invoices.list({"subscription": subscription.id}).data
    assert [(each.billing_reason, each.status) for each in invoices] == [
        *[("subscription_cycle", "paid")] * 3,
        ("subscription_create", "paid"),
    ]


@pytest.mark.parametrize(
    ("then", "status", "reason"),
    [("past_due", "past_due", None), ("unpaid", "unpaid", None), ("canceled", "canceled", "payment_failed")],
)
def test_after_the_last_attempt_the_setting_decides(
    account: Account, then: str, status: str, reason: str | None
) -> None:
    account.control.put("dunning", json={"retry_days": [1, 2], "then": then})
    key = _failing(account)
    account.pass_days(40)
    subscription = account.api.v1.subscriptions.retrieve(key, {"expand": ["latest_invoice"]})
    invoice: Any = subscription.latest_invoice
    assert subscription.cancellation_details is not None
    assert (subscription.status, subscription.cancellation_details.reason) == (status, reason)
    assert (invoice.attempt_count, invoice.next_payment_attempt) == (3, None)


def test_an_unpaid_subscription_gets_drafts_and_lives_again_when_the_last_is_paid(account: Account) -> None:
    account.control.put("dunning", json={"retry_days": [1], "then": "unpaid"})
    key = _failing(account)
    account.pass_days(70)
    draft = account.api.v1.invoices.list({"subscription": key, "status": "draft"}).data[0]
    customer = str(account.api.v1.subscriptions.retrieve(key).customer)
    card = account.api.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    account.api.v1.invoices.pay(draft.id, {"payment_method": card.id})
    assert account.api.v1.subscriptions.retrieve(key).status == "active"


def test_a_renewal_that_needs_its_holder_says_so(account: Account) -> None:
    subscription = account.subscribe(account.price())
    asks = account.api.v1.payment_methods.attach(
        "pm_card_authenticationRequired", {"customer": str(subscription.customer)}
    )
    account.api.v1.subscriptions.update(subscription.id, {"default_payment_method": asks.id})
    account.pass_days(32)
    assert account.told("invoice.payment_action_required") == ["invoice.payment_action_required"]
    assert account.api.v1.subscriptions.retrieve(subscription.id).status == "past_due"


def test_a_first_payment_that_never_comes_ends_it_after_a_day(account: Account) -> None:
    subscription = account.subscribe(account.price(), "pm_card_chargeCustomerFail")
    account.pass_days(1)
    assert account.api.v1.subscriptions.retrieve(subscription.id).status == "incomplete_expired"
    assert account.api.v1.invoices.retrieve(str(subscription.latest_invoice)).status == "void"


def test_an_unpaid_boleto_expires_and_the_subscription_with_it(account: Account) -> None:
    session = account.session(account.price("br", 9900, "brl"))
    ids = account.steer(f"checkout/sessions/{session.id}/pay", outcome="unpaid")
    account.pass_days(2)
    assert account.api.v1.subscriptions.retrieve(ids["subscription"]).status == "incomplete"
    account.pass_days(2)
    assert account.told("checkout.session.async_payment_failed") == ["checkout.session.async_payment_failed"]
    assert account.api.v1.subscriptions.retrieve(ids["subscription"]).status == "incomplete_expired"


def test_an_open_session_expires_after_a_day(account: Account) -> None:
    session = account.session(account.price())
    account.pass_days(1.1)
    assert account.api.v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert account.told("checkout.session.expired") == ["checkout.session.expired"]


def test_a_pause_of_collection_ends_when_it_was_to(account: Account) -> None:
    subscription = account.subscribe(account.price())
    pause: Any = {"behavior": "keep_as_draft", "resumes_at": item_of(subscription).current_period_end + 86_400}
    account.api.v1.subscriptions.update(subscription.id, {"pause_collection": pause})
    account.pass_days(40)
    after = account.api.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    invoice: Any = after.latest_invoice
    assert (after.pause_collection, invoice.status) == (None, "draft")


def test_a_coupon_for_three_months_ends_after_them(account: Account) -> None:
    coupon = account.api.v1.coupons.create({"percent_off": 50, "duration": "repeating", "duration_in_months": 3})
    subscription = account.subscribe(account.price("p", 2000), discounts=[{"coupon": coupon.id}])
    account.pass_days(100)
    totals = [each.total for each in account.api.v1.invoices.list({"subscription": subscription.id}).data]
    assert totals == [2000, 1000, 1000, 1000]


def test_the_clock_and_what_it_did_survive_a_restart(tmp_path: Path) -> None:
    with account_in(tmp_path) as account:
        subscription = account.subscribe(account.price())
        account.pass_days(32)
        ahead = account.control.get("clock").json()["now"]
    with account_in(tmp_path) as account:
        assert account.control.get("clock").json()["now"] >= ahead
        assert len(account.api.v1.invoices.list({"subscription": subscription.id}).data) == 2


def _a_month_later(folder: Path) -> Documents:
    """The account's store after a month of the machine's own time."""
    documents = Documents(folder)
    with clock.frozen(clock.now() + timedelta(days=32)):
        timeline.catch_up(Ledger(documents))
    return documents


def test_time_that_just_passes_renews_and_expires_as_well(tmp_path: Path) -> None:
    with account_in(tmp_path) as account:
        subscription, session = account.subscribe(account.price()), account.session(account.price("other"))
    documents = _a_month_later(tmp_path)
    [_, renewal] = documents.find("invoice", {"parent.subscription_details.subscription": subscription.id})
    assert (renewal["billing_reason"], renewal["status"]) == ("subscription_cycle", "draft")
    assert (documents.get("checkout.session", session.id) or {})["status"] == "expired"
    documents.close()


def _without_product(documents: Documents, broken: stripe.Subscription) -> None:
    documents.remove("product", str(item_of(broken).price.product))


def _without_a_field(documents: Documents, broken: stripe.Subscription) -> None:
    kept = documents.get("subscription", broken.id) or {}
    del kept["cancel_at_period_end"]
    documents.put("subscription", broken.id, kept)


@pytest.mark.parametrize("damage", [_without_product, _without_a_field])
def test_what_cannot_be_renewed_holds_up_nothing_else(
    tmp_path: Path, damage: Callable[[Documents, stripe.Subscription], None]
) -> None:
    with account_in(tmp_path) as account:
        broken, sound = account.subscribe(account.price()), account.subscribe(account.price("other"))
    documents = Documents(tmp_path)
    damage(documents, broken)
    documents.close()
    documents = _a_month_later(tmp_path)
    counts = [
        len(documents.find("invoice", {"parent.subscription_details.subscription": each.id}))
        for each in (broken, sound)
    ]
    assert counts == [1, 2]
    documents.close()


def test_time_never_goes_back(account: Account) -> None:
    now = account.control.get("clock").json()["now"]
    assert account.control.post("clock/advance", json={"to": now - 10}).status_code == 400


def test_a_charge_is_disputed_and_decided_on_demand(account: Account) -> None:
    invoice = account.bought(account.price())["invoice"]
    [payment] = account.api.v1.invoice_payments.list({"invoice": invoice}).data
    charge = account.api.v1.charges.list({"payment_intent": str(payment.payment.payment_intent)}).data[0]
    dispute = account.steer(f"charges/{charge.id}/dispute", reason="fraudulent")
    account.steer(f"disputes/{dispute['id']}/decide", outcome="won")
    assert account.told("charge.dispute.created", "charge.dispute.closed", "charge.dispute.funds_reinstated") == [
        "charge.dispute.created",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
    ]
    assert account.api.v1.charges.retrieve(charge.id).disputed is False
