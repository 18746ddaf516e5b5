"""An account at the stand-in: Stripe's own client, the control endpoints and one endpoint's secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import stripe


@dataclass
class Account:
    """How a test talks to Stripe (``api``) and steers the stand-in (``control``)."""

    base: str
    api: stripe.StripeClient
    control: httpx.Client

    def price(self, lookup_key: str = "starter", amount: int = 1900, currency: str = "usd") -> str:
        """A monthly price of a product of its own."""
        product = self.api.v1.products.create({"name": lookup_key.title()})
        price = self.api.v1.prices.create(
            {
                "currency": currency,
                "unit_amount": amount,
                "recurring": {"interval": "month"},
                "product": product.id,
                "lookup_key": lookup_key,
            }
        )
        return price.id

    def session(self, price: str, **more: Any) -> stripe.checkout.Session:
        """An open Checkout session for one of ``price``."""
        fields: Any = {
            "mode": "subscription",
            "line_items": [{"price": price, "quantity": 1}],
            "success_url": "https://shop.example/done?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "https://shop.example/back",
            **more,
        }
        return self.api.v1.checkout.sessions.create(fields)

    def customer(self, card: str = "pm_card_visa") -> str:
        """A customer with ``card`` as the default."""
        fields: Any = {
            "email": "ana@example.com",
            "payment_method": card,
            "invoice_settings": {"default_payment_method": card},
        }
        return self.api.v1.customers.create(fields).id

    def subscribe(self, price: str, card: str = "pm_card_visa", **more: Any) -> stripe.Subscription:
        """A subscription of a new customer with ``card``."""
        fields: Any = {"customer": self.customer(card), "items": [{"price": price}], **more}
        return self.api.v1.subscriptions.create(fields)

    def bought(self, price: str, **more: Any) -> dict[str, str]:
        """A session for ``price``, paid: the ids of session, subscription, customer and invoice."""
        ids: dict[str, str] = self.steer(f"checkout/sessions/{self.session(price, **more).id}/pay", outcome="paid")
        return ids

    def steer(self, path: str, **body: Any) -> Any:
        """POST to a control endpoint; its JSON answer. Fails unless it is 200."""
        return self.control.post(path, json=body).raise_for_status().json()

    def type_card(self, url: str, number: str = "4242 4242 4242 4242", **more: str) -> httpx.Response:
        """Fill in a hosted page's card form and send it."""
        fields = {"method": "card", "number": number, "expiry": "12 / 34", "cvc": "123", "holder": "Ana Souza", **more}
        return httpx.post(url, data=fields)

    def follow(self, answer: httpx.Response, /, **fields: str) -> httpx.Response:
        """Where a hosted page sent us, with a form posted there if ``fields`` are given."""
        where = httpx.URL(self.base).join(answer.headers["location"])
        return httpx.post(where, data=fields) if fields else httpx.get(where)

    def pass_days(self, days: float) -> int:
        """The account's time is so many days later; how many things happened on the way."""
        happened: int = self.steer("clock/advance", seconds=int(days * 86_400))["happened"]
        return happened

    def told(self, *types: str) -> list[str]:
        """The types of events so far, oldest first; only these if any are named."""
        events = [event.type for event in self.api.v1.events.list({"limit": 100}).auto_paging_iter()]
        return [kind for kind in reversed(events) if not types or kind in types]

    def standing(self) -> dict[str, Any]:
        """How events travel, with counts of what happened on the way."""
        found: dict[str, Any] = self.control.get("delivery").raise_for_status().json()
        return found

    def settled(self) -> list[dict[str, Any]]:
        """The delivery log once nothing waits any more; empty until then."""
        return [] if self.standing()["waiting"] else self.deliveries()

    def trouble(self, **settings: int) -> None:
        """Make the API fail, be late or lose its answers."""
        self.control.put("trouble", json=settings).raise_for_status()

    def network(self, **settings: Any) -> None:
        """Change how events travel."""
        self.control.put("delivery", json=settings).raise_for_status()

    def deliveries(self, **where: str) -> list[dict[str, Any]]:
        """The delivery log."""
        rows: list[dict[str, Any]] = self.control.get("deliveries", params=where).json()["deliveries"]
        return rows

    def listen(self, url: str, *types: str) -> str:
        """Register an endpoint for ``types`` (all without any); its secret."""
        fields: Any = {"url": url, "enabled_events": list(types) or ["*"]}
        return str(self.api.v1.webhook_endpoints.create(fields).secret)
