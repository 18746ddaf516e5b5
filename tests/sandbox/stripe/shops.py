"""A shop at Stripe for the contract tests: the real one with a test key in the environment, else the stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import stripe

from controller.core import ids

ValueT = TypeVar("ValueT")
DAY = 86_400


@dataclass
class Shop:
    """Stripe's own client, what a test makes of it, and whether Stripe itself answers."""

    api: stripe.StripeClient
    real: bool
    run: str = field(default_factory=ids.new)
    """Tells this test's objects from others of a shared account."""

    def price(self, amount: int = 1900) -> str:
        """A monthly price of a product of its own."""
        fields: Any = {
            "currency": "usd",
            "unit_amount": amount,
            "recurring": {"interval": "month"},
            "product_data": {"name": f"Plan {self.run}"},
        }
        return self.api.v1.prices.create(fields).id

    def clock(self) -> stripe.test_helpers.TestClock:
        """A test clock that stands at the present."""
        return self.api.v1.test_helpers.test_clocks.create({"frozen_time": int(time.time())})

    def customer(self, card: str | None = "pm_card_visa", **more: Any) -> str:
        """A customer with ``card`` as the default."""
        fields: Any = {"email": f"{self.run}@example.com", **more}
        if card:
            fields |= {"payment_method": card, "invoice_settings": {"default_payment_method": card}}
        return self.api.v1.customers.create(fields).id

    def subscribe(self, customer: str, price: str, **more: Any) -> stripe.Subscription:
        """A subscription of the customer to the price."""
        fields: Any = {"customer": customer, "items": [{"price": price}], "expand": ["latest_invoice"], **more}
        return self.api.v1.subscriptions.create(fields)

    def again(self, subscription: stripe.Subscription) -> stripe.Subscription:
        """The subscription as it is now, with its latest invoice."""
        return self.api.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})

    def pass_time(self, clock: stripe.test_helpers.TestClock, to: int) -> None:
        """The clock has arrived at ``to`` and everything due has happened."""
        clocks = self.api.v1.test_helpers.test_clocks
        clocks.advance(clock.id, {"frozen_time": to})
        self.eventually(lambda: clocks.retrieve(clock.id).status == "ready")

    def charge_of(self, invoice: str) -> stripe.Charge:
        """The newest charge of the invoice."""
        [payment] = self.api.v1.invoice_payments.list({"invoice": invoice}).data
        intent = self.api.v1.payment_intents.retrieve(
            str(payment.payment.payment_intent), {"expand": ["latest_charge"]}
        )
        assert isinstance(intent.latest_charge, stripe.Charge)
        return intent.latest_charge

    def eventually(self, probe: Callable[[], ValueT]) -> ValueT:
        """The first true value of ``probe``: Stripe itself may take its time."""
        deadline = time.monotonic() + (120 if self.real else 10)
        while not (value := probe()):
            assert time.monotonic() < deadline
            time.sleep(2 if self.real else 0.01)
        return value


def invoice_of(subscription: stripe.Subscription) -> stripe.Invoice:
    """The subscription's expanded latest invoice."""
    assert isinstance(subscription.latest_invoice, stripe.Invoice)
    return subscription.latest_invoice


def item_of(subscription: stripe.Subscription) -> stripe.SubscriptionItem:
    """The subscription's first item."""
    item: stripe.SubscriptionItem = subscription["items"].data[0]
    return item
