"""Subscriptions and invoices over their life, through Stripe's own library."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.stripe.account import Account


def _item(subscription: stripe.Subscription) -> stripe.SubscriptionItem:
    item: stripe.SubscriptionItem = subscription["items"].data[0]
    return item


def test_renewing_moves_the_period_by_a_month_and_bills_it(account: Account) -> None:
    before = account.subscribe(account.price())
    answer = account.steer(f"subscriptions/{before.id}/renew", outcome="paid")
    after = account.api.v1.subscriptions.retrieve(before.id)
    invoice = account.api.v1.invoices.retrieve(answer["invoice"])
    assert _item(after).current_period_start == _item(before).current_period_end
    assert (invoice.billing_reason, invoice.status, invoice.attempt_count) == ("subscription_cycle", "paid", 1)
    assert invoice.lines.data[0].period.start == _item(after).current_period_start
    assert (invoice.period_start, invoice.period_end) == (
        _item(before).current_period_start,
        _item(before).current_period_end,
    )


def test_failures_count_on_one_invoice_and_keep_it_past_due_until_it_is_paid(account: Account) -> None:
    subscription = account.subscribe(account.price())
    first = account.steer(f"subscriptions/{subscription.id}/renew", outcome="failed")
    attempts = [first] + [account.steer(f"invoices/{first['invoice']}/attempt", outcome="failed") for _ in range(4)]
    assert [(a["attempt_count"], a["status"]) for a in attempts] == [(n, "past_due") for n in range(1, 6)]
    assert account.api.v1.invoices.retrieve(first["invoice"]).next_payment_attempt is None
    paid = account.steer(f"invoices/{first['invoice']}/attempt", outcome="paid")
    assert (paid["attempt_count"], paid["status"]) == (6, "active")


def test_a_failing_card_leaves_the_new_subscription_incomplete(account: Account) -> None:
    subscription = account.subscribe(account.price(), "pm_card_chargeCustomerFail", expand=["latest_invoice"])
    assert isinstance(subscription.latest_invoice, stripe.Invoice)
    assert (subscription.status, subscription.latest_invoice.status) == ("incomplete", "open")
    assert subscription.latest_invoice.attempt_count == 1


def test_paying_with_a_refused_card_is_a_card_error_and_a_good_card_reactivates(account: Account) -> None:
    subscription = account.subscribe(account.price(), "pm_card_chargeCustomerFail")
    invoice = str(subscription.latest_invoice)
    with pytest.raises(stripe.CardError) as refused:
        account.api.v1.invoices.pay(invoice)
    assert refused.value.code == "card_declined"
    card = account.api.v1.payment_methods.attach("pm_card_visa", {"customer": str(subscription.customer)})
    assert account.api.v1.invoices.pay(invoice, {"payment_method": card.id}).status == "paid"
    assert account.api.v1.subscriptions.retrieve(subscription.id).status == "active"


def test_a_manual_payment_after_the_first_attempt_does_not_count(account: Account) -> None:
    subscription = account.subscribe(account.price(), "pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        account.api.v1.invoices.pay(str(subscription.latest_invoice))
    assert account.api.v1.invoices.retrieve(str(subscription.latest_invoice)).attempt_count == 1


def test_an_upgrade_is_prorated_on_the_next_invoice(account: Account) -> None:
    subscription = account.subscribe(account.price())
    dearer = account.price("pro", 4900)
    changed = account.api.v1.subscriptions.update(
        subscription.id, {"items": [{"id": _item(subscription).id, "price": dearer}]}
    )
    answer = account.steer(f"subscriptions/{subscription.id}/renew", outcome="paid")
    invoice = account.api.v1.invoices.retrieve(answer["invoice"])
    assert _item(changed).price.lookup_key == "pro"
    assert [line.amount for line in invoice.lines.data] == [4900, -1900, 4900]


def test_an_upgrade_invoiced_at_once_is_no_renewal(account: Account) -> None:
    subscription = account.subscribe(account.price())
    account.api.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": _item(subscription).id, "price": account.price("pro", 4900)}],
            "proration_behavior": "always_invoice",
        },
    )
    newest = account.api.v1.invoices.list({"subscription": subscription.id}).data[0]
    assert (newest.billing_reason, newest.status, newest.total) == ("subscription_update", "paid", 3000)


def test_cancelling_at_the_periods_end_can_be_undone_and_takes_effect_at_renewal(account: Account) -> None:
    update, key = account.api.v1.subscriptions.update, account.subscribe(account.price()).id
    assert update(key, {"cancel_at_period_end": True}).cancel_at is not None
    assert update(key, {"cancel_at_period_end": False}).cancel_at is None
    update(key, {"cancel_at_period_end": True})
    assert account.steer(f"subscriptions/{key}/renew", outcome="paid") == {
        "subscription": key,
        "status": "canceled",
        "invoice": None,
        "attempt_count": None,
    }


def test_a_canceled_subscription_stays_readable_and_is_canceled_once(account: Account) -> None:
    subscription = account.subscribe(account.price())
    account.api.v1.subscriptions.cancel(subscription.id)
    assert account.api.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert account.api.v1.subscriptions.list().data == []
    assert [s.id for s in account.api.v1.subscriptions.list({"status": "all"}).data] == [subscription.id]
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        account.api.v1.subscriptions.cancel(subscription.id)


def test_metadata_is_merged_and_an_empty_value_removes_its_key(account: Account) -> None:
    subscription = account.subscribe(account.price(), metadata={"box": "b1", "old": "x"})
    changed = account.api.v1.subscriptions.update(subscription.id, {"metadata": {"old": "", "new": "y"}})
    assert changed.metadata.to_dict() == {"box": "b1", "new": "y"}
