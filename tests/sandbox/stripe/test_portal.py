"""The billing portal: what a customer does there, as a browser without JavaScript does it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from tests.sandbox.stripe.account import Account
from tests.sandbox.stripe.shops import item_of

BACK = "https://shop.example/account"


class Portal:
    """A customer of the ``pro`` plan inside the portal, with three plans to choose from."""

    def __init__(self, account: Account, **session: Any) -> None:
        self.account = account
        self.prices = {name: account.price(name, amount) for name, amount in PLANS.items()}
        ids = account.bought(self.prices["pro"])
        self.subscription, self.customer = ids["subscription"], ids["customer"]
        made: Any = {
            "customer": self.customer,
            "configuration": account.api.v1.billing_portal.configurations.create({"features": self._features()}).id,
            "return_url": BACK,
            **(session.pop("flow")(self) if "flow" in session else {}),
            **session,
        }
        self.url = account.api.v1.billing_portal.sessions.create(made).url

    def _features(self) -> Any:
        products = [
            {"product": str(self.account.api.v1.prices.retrieve(price).product), "prices": [price]}
            for price in self.prices.values()
        ]
        return {
            "customer_update": {"enabled": True, "allowed_updates": ["email", "name"]},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {
                "enabled": True,
                "cancellation_reason": {"enabled": True, "options": ["too_expensive", "unused"]},
            },
            "subscription_update": {
                "enabled": True,
                "default_allowed_updates": ["price"],
                "products": products,
                "proration_behavior": "always_invoice",
                "schedule_at_period_end": {"conditions": [{"type": "decreasing_item_amount"}]},
            },
        }

    def act(self, what: str, **fields: str) -> httpx.Response:
        """Press a button of the subscription's."""
        return httpx.post(f"{self.url}/subscriptions/{self.subscription}/{what}", data=fields)

    def now(self) -> stripe.Subscription:
        """The subscription as it is."""
        return self.account.api.v1.subscriptions.retrieve(self.subscription)


PLANS = {"starter": 1900, "pro": 4900, "team": 12900}


def test_the_front_page_shows_plan_card_and_invoices_and_the_way_back(account: Account) -> None:
    text = httpx.get(Portal(account, locale="pt-BR").url).text
    assert all(words in text for words in ("Assinatura atual", "US$ 49,00", "4242", "Histórico de faturas", BACK))


def test_an_upgrade_shows_its_price_first_and_is_paid_at_once(account: Account) -> None:
    portal = Portal(account)
    page = f"{portal.url}/subscriptions/{portal.subscription}/update"
    assert "US$ 129.00" in httpx.get(page).text
    assert "US$ 80.00" in httpx.get(page, params={"price": portal.prices["team"]}).text
    assert portal.act("update", price=portal.prices["team"]).headers["location"].endswith(portal.url.rsplit("/")[-1])
    assert item_of(portal.now()).price.lookup_key == "team"
    newest = account.api.v1.invoices.list({"subscription": portal.subscription}).data[0]
    assert (newest.billing_reason, newest.status, newest.total) == ("subscription_update", "paid", 8000)


def test_an_upgrade_that_the_card_refuses_changes_nothing(account: Account) -> None:
    portal = Portal(account)
    bad = account.api.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": portal.customer})
    account.api.v1.subscriptions.update(portal.subscription, {"default_payment_method": bad.id})
    refused = portal.act("update", price=portal.prices["team"])
    assert (refused.status_code, "declined" in refused.text) == (402, True)
    assert item_of(portal.now()).price.lookup_key == "pro"


def test_a_downgrade_waits_for_the_periods_end(account: Account) -> None:
    portal = Portal(account)
    portal.act("update", price=portal.prices["starter"])
    assert (item_of(portal.now()).price.lookup_key, portal.now().schedule is None) == ("pro", False)
    assert "Changes to Starter" in httpx.get(portal.url).text
    account.pass_days(32)
    assert (item_of(portal.now()).price.lookup_key, portal.now().schedule) == ("starter", None)
    newest = account.api.v1.invoices.list({"subscription": portal.subscription}).data[0]
    assert (newest.total, newest.status) == (1900, "paid")


def test_a_downgrade_is_thought_better_of(account: Account) -> None:
    portal = Portal(account)
    portal.act("update", price=portal.prices["starter"])
    portal.act("stay")
    account.pass_days(32)
    assert item_of(portal.now()).price.lookup_key == "pro"


def test_a_plan_is_cancelled_at_the_periods_end_and_kept_after_all(account: Account) -> None:
    portal = Portal(account)
    portal.act("cancel", feedback="unused")
    cancelling = portal.now()
    assert cancelling.cancellation_details is not None
    assert (cancelling.cancel_at_period_end, cancelling.cancellation_details.feedback) == (True, "unused")
    assert "Don&#39;t cancel plan" in httpx.get(portal.url).text
    portal.act("keep")
    assert (portal.now().cancel_at_period_end, portal.now().status) == (False, "active")


def test_another_card_pays_from_now_on(account: Account) -> None:
    portal = Portal(account)
    assert account.type_card(f"{portal.url}/payment-method", "4000 0000 0000 0002").status_code == 402
    account.type_card(f"{portal.url}/payment-method", "5555 5555 5555 4444")
    card = account.api.v1.payment_methods.retrieve(str(portal.now().default_payment_method)).card
    assert card is not None
    assert (card.brand, card.last4) == ("mastercard", "4444")


def test_a_card_whose_bank_asks_is_saved_when_the_holder_agrees(account: Account) -> None:
    portal = Portal(account)
    asked = account.type_card(f"{portal.url}/payment-method", "4000 0025 0000 3155")
    account.follow(asked, answer="approve")
    assert len(account.api.v1.customers.payment_methods.list(portal.customer).data) == 2


def test_name_and_address_are_changed(account: Account) -> None:
    portal = Portal(account)
    httpx.post(f"{portal.url}/customer", data={"name": "Ana Lima", "email": "ana@lima.example"})
    customer = account.api.v1.customers.retrieve(portal.customer)
    assert (customer.name, customer.email) == ("Ana Lima", "ana@lima.example")


def test_a_flow_leads_straight_to_its_page_and_back_to_the_shop(account: Account) -> None:
    def flow(portal: Portal) -> dict[str, Any]:
        after = {"type": "redirect", "redirect": {"return_url": BACK}}
        about = {"subscription": portal.subscription}
        return {"flow_data": {"type": "subscription_cancel", "after_completion": after, "subscription_cancel": about}}

    portal = Portal(account, flow=flow)
    assert httpx.get(portal.url).headers["location"].endswith("/cancel")
    assert portal.act("cancel").headers["location"] == BACK


def test_nobody_acts_on_another_customers_subscription(account: Account) -> None:
    portal = Portal(account)
    other = account.bought(portal.prices["pro"])["subscription"]
    portal.subscription = other
    assert portal.act("cancel").status_code == 404
    assert account.api.v1.subscriptions.retrieve(other).cancel_at_period_end is False


def test_a_session_is_over_after_an_hour(account: Account) -> None:
    portal = Portal(account)
    account.pass_days(0.1)
    assert httpx.get(portal.url).status_code == 410


def test_without_a_configuration_stripe_refuses_until_there_is_a_default(account: Account) -> None:
    customer = account.customer()
    with pytest.raises(stripe.InvalidRequestError, match="default configuration has not been created"):
        account.api.v1.billing_portal.sessions.create({"customer": customer})
    made = account.api.v1.billing_portal.configurations.create({"features": {"invoice_history": {"enabled": True}}})
    account.steer(f"portal_configurations/{made.id}/make_default")
    assert account.api.v1.billing_portal.sessions.create({"customer": customer}).configuration == made.id
