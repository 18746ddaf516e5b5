"""Checkout as our code meets it, through Stripe's own library."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.stripe.account import Account


def test_a_session_says_what_it_sells_and_to_whom(account: Account) -> None:
    opened = account.session(
        account.price(), client_reference_id="draft-7", metadata={"box": "b1"}, customer_email="ana@example.com"
    )
    session = account.api.v1.checkout.sessions.retrieve(opened.id, {"expand": ["line_items"]})
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 1900)
    assert (session.client_reference_id, session.customer_email) == ("draft-7", "ana@example.com")
    assert session.to_dict()["metadata"] == {"box": "b1"}
    assert session.line_items is not None
    assert session.line_items.data[0].price is not None
    assert session.line_items.data[0].price.lookup_key == "starter"


def test_a_paid_session_leaves_an_active_subscription_with_a_paid_invoice(account: Account) -> None:
    ids = account.bought(account.price(), subscription_data={"metadata": {"box": "b1"}})
    subscription = account.api.v1.subscriptions.retrieve(ids["subscription"], {"expand": ["latest_invoice"]})
    invoice = subscription.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (subscription.status, subscription.metadata.to_dict()) == ("active", {"box": "b1"})
    assert (invoice.status, invoice.billing_reason, invoice.attempt_count) == ("paid", "subscription_create", 1)
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    assert invoice.parent.subscription_details.subscription == ids["subscription"]
    item = subscription["items"].data[0]
    assert (invoice.lines.data[0].period.start, invoice.lines.data[0].period.end) == (
        item.current_period_start,
        item.current_period_end,
    )


def test_a_paid_session_names_what_it_made(account: Account) -> None:
    ids = account.bought(account.price())
    session = account.api.v1.checkout.sessions.retrieve(ids["session"])
    assert (session.status, session.payment_status, session.url) == ("complete", "paid", None)
    assert (session.subscription, session.customer, session.invoice) == (
        ids["subscription"],
        ids["customer"],
        ids["invoice"],
    )


@pytest.mark.parametrize(
    ("later", "payment", "status"), [("paid", "paid", "active"), ("failed", "unpaid", "incomplete")]
)
def test_money_on_its_way_arrives_or_not(account: Account, later: str, payment: str, status: str) -> None:
    session = account.session(account.price())
    ids = account.steer(f"checkout/sessions/{session.id}/pay", outcome="unpaid")
    assert account.api.v1.subscriptions.retrieve(ids["subscription"]).status == "incomplete"
    account.steer(f"checkout/sessions/{session.id}/pay", outcome=later)
    assert account.api.v1.checkout.sessions.retrieve(session.id).payment_status == payment
    assert account.api.v1.subscriptions.retrieve(ids["subscription"]).status == status


def test_an_expired_session_cannot_be_paid(account: Account) -> None:
    session = account.session(account.price())
    assert account.api.v1.checkout.sessions.expire(session.id).status == "expired"
    assert account.control.post(f"checkout/sessions/{session.id}/pay", json={}).status_code == 400


def test_a_session_must_live_at_least_thirty_minutes(account: Account) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        account.session(account.price(), expires_at=1)
    assert refused.value.param == "expires_at"


def test_a_payment_link_opens_sessions_that_carry_its_metadata(account: Account) -> None:
    fields: stripe.params.PaymentLinkCreateParams = {
        "line_items": [{"price": account.price(), "quantity": 1}],
        "metadata": {"campaign": "c1"},
        "subscription_data": {"metadata": {"box": "b1"}},
    }
    link = account.api.v1.payment_links.create(fields)
    session = account.steer(f"payment_links/{link.id}/open")
    ids = account.steer(f"checkout/sessions/{session['id']}/pay")
    assert (session["metadata"], session["payment_link"]) == ({"campaign": "c1"}, link.id)
    assert account.api.v1.subscriptions.retrieve(ids["subscription"]).metadata.to_dict() == {"box": "b1"}
