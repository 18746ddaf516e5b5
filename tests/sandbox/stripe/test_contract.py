"""What we rely on, through Stripe's own library alone: against the stand-in, or Stripe itself with a test key.

``STRIPE_API_KEY=sk_test_… pytest tests/sandbox/stripe/test_contract.py`` runs it against Stripe. What only the stand-in
can do (control switches, hosted pages without a browser) is tested in the other modules.
"""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.stripe.shops import DAY, Shop, invoice_of, item_of


def test_a_new_subscription_is_active_and_its_invoice_names_it(shop: Shop) -> None:
    subscription = shop.subscribe(shop.customer(), shop.price(), metadata={"draft_id": "d1"})
    invoice = invoice_of(subscription)
    assert (subscription.status, subscription.metadata.to_dict()) == ("active", {"draft_id": "d1"})
    assert (invoice.status, invoice.billing_reason, invoice.amount_paid) == ("paid", "subscription_create", 1900)
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert invoice.lines.data[0].period.end == item_of(subscription).current_period_end


def test_a_card_that_fails_leaves_it_incomplete_and_another_pays(shop: Shop) -> None:
    customer = shop.customer("pm_card_chargeCustomerFail")
    subscription = shop.subscribe(customer, shop.price())
    invoice = invoice_of(subscription)
    assert (subscription.status, invoice.status, invoice.attempt_count) == ("incomplete", "open", 1)
    with pytest.raises(stripe.CardError) as refused:
        shop.api.v1.invoices.pay(invoice.id)
    assert refused.value.code == "card_declined"
    card = shop.api.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    assert shop.api.v1.invoices.pay(invoice.id, {"payment_method": card.id}).status == "paid"
    assert shop.again(subscription).status == "active"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"currency": "usd", "unit_amount": 1, "colour": "red"}, "parameter_unknown"),
        ({"currency": "usd", "unit_amount": 1, "product": "prod_none"}, "resource_missing"),
        ({"currency": "usd", "unit_amount": "much", "product": "prod_none"}, "parameter_invalid_integer"),
    ],
)
def test_a_wrong_request_is_refused_with_stripes_code(shop: Shop, fields: Any, code: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.api.v1.prices.create(fields)
    assert (refused.value.http_status, refused.value.code) == (400, code)


def test_an_unknown_subscription_is_missing(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.api.v1.subscriptions.retrieve("sub_none")
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_a_repeated_key_repeats_the_answer_and_refuses_another_body(shop: Shop) -> None:
    options: Any = {"idempotency_key": f"contract:{shop.run}"}
    first = shop.api.v1.customers.create({"name": "Ana"}, options)
    assert shop.api.v1.customers.create({"name": "Ana"}, options).id == first.id
    with pytest.raises(stripe.IdempotencyError) as refused:
        shop.api.v1.customers.create({"name": "Bia"}, options)
    assert refused.value.http_status == 400


def test_a_refused_card_is_remembered_under_its_key(shop: Shop) -> None:
    fields: Any = {
        "customer": shop.customer("pm_card_chargeCustomerFail"),
        "items": [{"price": shop.price()}],
        "payment_behavior": "error_if_incomplete",
    }
    options: Any = {"idempotency_key": f"refused:{shop.run}"}
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            shop.api.v1.subscriptions.create(fields, options)
    assert shop.api.v1.subscriptions.list({"customer": fields["customer"], "status": "all"}).data == []


def test_lists_come_in_pages(shop: Shop) -> None:
    made = [shop.customer(None) for _ in range(3)]
    first = shop.api.v1.customers.list({"email": f"{shop.run}@example.com", "limit": 2})
    rest = shop.api.v1.customers.list(
        {"email": f"{shop.run}@example.com", "limit": 2, "starting_after": first.data[-1].id}
    )
    assert ([each.id for each in first.data], first.has_more) == (made[:0:-1], True)
    assert ([each.id for each in rest.data], rest.has_more) == (made[:1], False)


def test_a_month_later_it_is_renewed_and_paid(shop: Shop) -> None:
    clock = shop.clock()
    before = shop.subscribe(shop.customer(test_clock=clock.id), shop.price())
    shop.pass_time(clock, item_of(before).current_period_end + 2 * 3600)
    after = shop.again(before)
    assert item_of(after).current_period_start == item_of(before).current_period_end
    assert (invoice_of(after).billing_reason, invoice_of(after).status) == ("subscription_cycle", "paid")


def test_a_renewals_invoice_is_a_draft_for_its_first_hour(shop: Shop) -> None:
    clock = shop.clock()
    before = shop.subscribe(shop.customer(test_clock=clock.id), shop.price())
    shop.pass_time(clock, item_of(before).current_period_end + 600)
    after = shop.again(before)
    assert (after.status, invoice_of(after).status) == ("active", "draft")


def test_a_failing_renewal_makes_it_past_due_and_plans_the_next_attempt(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(test_clock=clock.id)
    before = shop.subscribe(customer, shop.price())
    bad = shop.api.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer})
    shop.api.v1.subscriptions.update(before.id, {"default_payment_method": bad.id})
    shop.pass_time(clock, item_of(before).current_period_end + 2 * 3600)
    after = shop.again(before)
    assert (after.status, invoice_of(after).status, invoice_of(after).attempt_count) == ("past_due", "open", 1)
    assert invoice_of(after).next_payment_attempt is not None


def test_a_trial_is_free_and_ends_in_a_paid_period(shop: Shop) -> None:
    clock = shop.clock()
    before = shop.subscribe(shop.customer(test_clock=clock.id), shop.price(), trial_period_days=7)
    assert (before.status, invoice_of(before).amount_due, invoice_of(before).status) == ("trialing", 0, "paid")
    shop.pass_time(clock, clock.frozen_time + 7 * DAY + 2 * 3600)
    after = shop.again(before)
    assert (after.status, invoice_of(after).amount_paid) == ("active", 1900)
    told = shop.eventually(lambda: shop.api.v1.events.list({"type": "customer.subscription.trial_will_end"}).data)
    assert before.id in [event.data.object["id"] for event in told]


def test_a_trial_without_a_card_pauses_and_is_resumed(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(None, test_clock=clock.id)
    settings: Any = {"end_behavior": {"missing_payment_method": "pause"}}
    trial = shop.subscribe(customer, shop.price(), trial_period_days=7, trial_settings=settings)
    shop.pass_time(clock, clock.frozen_time + 7 * DAY + 3600)
    assert shop.again(trial).status == "paused"
    card = shop.api.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    shop.api.v1.subscriptions.update(trial.id, {"default_payment_method": card.id})
    shop.api.v1.subscriptions.resume(trial.id)
    assert shop.eventually(lambda: shop.again(trial).status == "active")


def test_cancelling_at_the_periods_end_is_undone_and_done(shop: Shop) -> None:
    clock = shop.clock()
    subscription = shop.subscribe(shop.customer(test_clock=clock.id), shop.price())
    change = shop.api.v1.subscriptions.update
    assert change(subscription.id, {"cancel_at_period_end": True}).cancel_at is not None
    assert change(subscription.id, {"cancel_at_period_end": False}).cancel_at is None
    change(subscription.id, {"cancel_at_period_end": True})
    shop.pass_time(clock, item_of(subscription).current_period_end + 3600)
    ended = shop.again(subscription)
    assert ended.status == "canceled"
    assert ended.cancellation_details is not None
    assert ended.cancellation_details.reason == "cancellation_requested"


def test_an_upgrade_in_the_middle_of_the_month_costs_half_the_difference(shop: Shop) -> None:
    clock = shop.clock()
    subscription = shop.subscribe(shop.customer(test_clock=clock.id), shop.price(1000))
    item = item_of(subscription)
    shop.pass_time(clock, (item.current_period_start + item.current_period_end) // 2)
    change: Any = {"items": [{"id": item.id, "price": shop.price(3000)}], "proration_behavior": "always_invoice"}
    shop.api.v1.subscriptions.update(subscription.id, change)
    invoice = invoice_of(shop.again(subscription))
    assert (invoice.billing_reason, invoice.status) == ("subscription_update", "paid")
    assert abs(invoice.total - 1000) <= 1
    assert sorted(line.amount > 0 for line in invoice.lines.data) == [False, True]


def test_a_downgrade_leaves_a_credit_that_pays_the_next_invoice(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(test_clock=clock.id)
    subscription = shop.subscribe(customer, shop.price(3000))
    item = item_of(subscription)
    change: Any = {"items": [{"id": item.id, "price": shop.price(1000)}], "proration_behavior": "always_invoice"}
    shop.api.v1.subscriptions.update(subscription.id, change)
    assert shop.api.v1.customers.retrieve(customer).balance == -2000
    shop.pass_time(clock, item.current_period_end + 2 * 3600)
    renewed = invoice_of(shop.again(subscription))
    assert (renewed.total, renewed.starting_balance, renewed.amount_due) == (1000, -2000, 0)


def test_a_coupon_for_once_halves_the_first_invoice_alone(shop: Shop) -> None:
    clock = shop.clock()
    coupon = shop.api.v1.coupons.create({"percent_off": 50, "duration": "once"})
    subscription = shop.subscribe(shop.customer(test_clock=clock.id), shop.price(), discounts=[{"coupon": coupon.id}])
    assert invoice_of(subscription).total == 950
    shop.pass_time(clock, item_of(subscription).current_period_end + 2 * 3600)
    assert invoice_of(shop.again(subscription)).total == 1900


def test_a_promotion_code_leads_to_its_coupon(shop: Shop) -> None:
    coupon = shop.api.v1.coupons.create({"amount_off": 500, "currency": "usd", "duration": "forever"})
    code = shop.api.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})
    subscription = shop.subscribe(shop.customer(), shop.price(), discounts=[{"promotion_code": code.id}])
    assert invoice_of(subscription).total == 1400
    assert shop.api.v1.promotion_codes.retrieve(code.id).times_redeemed == 1


def test_paused_collection_writes_no_bill_that_is_paid(shop: Shop) -> None:
    clock = shop.clock()
    subscription = shop.subscribe(shop.customer(test_clock=clock.id), shop.price())
    shop.api.v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
    shop.pass_time(clock, item_of(subscription).current_period_end + 2 * 3600)
    after = shop.again(subscription)
    assert (after.status, invoice_of(after).status) == ("active", "void")
    assert shop.api.v1.subscriptions.update(after.id, {"pause_collection": ""}).pause_collection is None


def test_money_is_given_back_once(shop: Shop) -> None:
    subscription = shop.subscribe(shop.customer(), shop.price())
    charge = shop.charge_of(invoice_of(subscription).id)
    shop.api.v1.refunds.create({"charge": charge.id, "amount": 900})
    shop.api.v1.refunds.create({"charge": charge.id})
    after = shop.api.v1.charges.retrieve(charge.id)
    assert (after.amount_refunded, after.refunded) == (1900, True)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.api.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_already_refunded"


@pytest.mark.parametrize(("evidence", "outcome"), [("winning_evidence", "won"), ("losing_evidence", "lost")])
def test_a_dispute_is_decided_by_its_evidence(shop: Shop, evidence: str, outcome: str) -> None:
    subscription = shop.subscribe(shop.customer("pm_card_createDispute"), shop.price())
    charge = shop.charge_of(invoice_of(subscription).id)
    [dispute] = shop.eventually(lambda: shop.api.v1.disputes.list({"charge": charge.id}).data)
    assert dispute.status == "needs_response"
    answer: Any = {"evidence": {"uncategorized_text": evidence}, "submit": True}
    shop.api.v1.disputes.update(dispute.id, answer)
    assert shop.eventually(lambda: shop.api.v1.disputes.retrieve(dispute.id).status == outcome)


def test_a_checkout_session_has_a_page_until_it_expires(shop: Shop) -> None:
    fields: Any = {
        "mode": "subscription",
        "line_items": [{"price": shop.price(), "quantity": 1}],
        "success_url": "https://example.com/done",
        "client_reference_id": "d1",
        "locale": "pt-BR",
        "subscription_data": {"metadata": {"draft_id": "d1"}},
    }
    session = shop.api.v1.checkout.sessions.create(fields)
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 1900)
    assert session.url is not None
    expired = shop.api.v1.checkout.sessions.expire(session.id)
    assert (expired.status, expired.url, expired.client_reference_id) == ("expired", None, "d1")


def test_a_portal_session_pins_its_configuration(shop: Shop) -> None:
    features: Any = {"invoice_history": {"enabled": True}, "subscription_cancel": {"enabled": True}}
    configuration = shop.api.v1.billing_portal.configurations.create({"features": features})
    session = shop.api.v1.billing_portal.sessions.create(
        {"customer": shop.customer(), "configuration": configuration.id, "return_url": "https://example.com/back"}
    )
    assert (session.configuration, session.return_url) == (configuration.id, "https://example.com/back")
    assert configuration.features.subscription_cancel.mode == "at_period_end"


def test_a_preview_says_what_a_change_would_cost_and_changes_nothing(shop: Shop) -> None:
    subscription = shop.subscribe(shop.customer(), shop.price(1000))
    change: Any = {
        "items": [{"id": item_of(subscription).id, "price": shop.price(3000)}],
        "proration_behavior": "always_invoice",
    }
    preview = shop.api.v1.invoices.create_preview({"subscription": subscription.id, "subscription_details": change})
    assert abs(preview.total - 2000) <= 1
    assert invoice_of(shop.again(subscription)).id == invoice_of(subscription).id


def test_a_webhook_endpoint_shows_its_secret_once(shop: Shop) -> None:
    endpoints = shop.api.v1.webhook_endpoints
    made = endpoints.create({"url": "https://example.com/hook", "enabled_events": ["invoice.paid"]})
    assert str(made.secret).startswith("whsec_")
    assert not endpoints.retrieve(made.id).to_dict().get("secret")
    assert endpoints.delete(made.id).deleted
