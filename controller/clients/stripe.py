"""Stripe: Checkout sessions out, verified events in, and the truth about a subscription when asked.

The only module that imports the library. Its API version is the one that the library pins.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import stripe
from pydantic import SecretStr

from controller.core import clock, metrics
from controller.core import log as logs
from controller.core.errors import Invalid, NotFound, Permanent, Temporary, foreign
from controller.core.settings import Group
from controller.domain.plans import Currency, Plan, PlanName, price_key
from controller.domain.subscriptions import Facts

log = logs.get(__name__)

KEY_REFUSED = metrics.counter("stripe_key_refused", "Requests that Stripe refused for our key")

SIGNATURE_TOLERANCE = timedelta(seconds=300)
TIMEOUT_SECONDS = 10
EVENTS = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "invoice.payment_succeeded",
    "invoice.paid",
    "invoice.payment_failed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
)
"""The events that our endpoint subscribes to; each only says which subscription to look at."""


class StripeSettings(Group):
    """How we reach Stripe."""

    stripe_api_key: SecretStr
    stripe_api_url: str = "https://api.stripe.com"
    """Another address for a stand-in."""


class SignatureError(Invalid):
    """Raised when an event's signature, time or form is wrong: it is not from Stripe."""

    status = 400


T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """A verified event: its id, type, and the object that it carried, as Stripe spelled it."""

    id: str
    kind: str
    payload: dict[str, Any]


def verify(body: bytes, signature: str, secret: SecretStr) -> Event:
    """The event in ``body`` (the raw bytes), signed by Stripe with our endpoint's ``secret`` in the last five minutes.

    At most as far from now in the future, too. Raises SignatureError.
    """
    try:
        # Without a tolerance: the library's clock is the machine's, and only ours is corrected when that is wrong.
        stripe.WebhookSignature.verify_header(body, signature, secret.get_secret_value())
        _check_recent(signature)
        return _event(body)
    except (stripe.SignatureVerificationError, ValueError, KeyError, TypeError) as exc:
        raise SignatureError("signature_refused") from exc


class Stripe:
    """One process's client."""

    def __init__(self, settings: StripeSettings) -> None:
        self._client = stripe.StripeClient(
            settings.stripe_api_key.get_secret_value(),
            base_addresses={"api": settings.stripe_api_url},
            http_client=stripe.HTTPXClient(timeout=TIMEOUT_SECONDS),
            max_network_retries=2,
        )

    async def checkout(self, *, draft_id: str, plan: Plan, currency: Currency, email: str, locale: str, web_url: str
    ) -> tuple[str, str]:  # fmt: skip
        """A Checkout session for the plan; its id and the address where the customer pays."""
        price = await self._price(price_key(plan.name, currency))
        session = await _asked(
            self._client.v1.checkout.sessions.create_async(
                {
                    "mode": "subscription",
                    "line_items": [{"price": price, "quantity": 1}],
                    "client_reference_id": draft_id,
                    "metadata": {"draft_id": draft_id},
                    "subscription_data": {"metadata": {"draft_id": draft_id}},
                    "customer_email": email,
                    "locale": "pt-BR" if locale == "pt-BR" else "en",
                    "success_url": f"{web_url}/start/paid?draft={draft_id}",
                    "cancel_url": f"{web_url}/start?draft={draft_id}",
                },
                {"idempotency_key": f"checkout:{draft_id}"},
            )
        )
        if session.url is None:
            raise Permanent("checkout_without_url", session=session.id)
        return session.id, session.url

    async def subscription(self, stripe_id: str, *, session_id: str | None = None) -> Facts:
        """What Stripe says of the subscription now; the session, if given, may know the draft.

        Raises NotFound if Stripe has no such subscription.
        """
        found = await _asked(
            self._client.v1.subscriptions.retrieve_async(stripe_id, {"expand": ["latest_invoice", "customer"]})
        )
        draft = found.metadata.to_dict().get("draft_id")
        if draft is None and session_id is not None:
            session = await _asked(self._client.v1.checkout.sessions.retrieve_async(session_id))
            draft = session.client_reference_id
        return facts(found, draft)

    async def events(self, start: datetime, end: datetime) -> list[Event]:
        """Our endpoint's kinds of events made from ``start`` until ``end``, newest first, delivered or not.

        Stripe keeps them for 30 days (https://docs.stripe.com/api/events/list).
        """
        made: Any = {"gte": int(start.timestamp()), "lte": int(end.timestamp())}
        first = await _asked(self._client.v1.events.list_async({"types": list(EVENTS), "created": made, "limit": 100}))
        return await _asked(_all(first))

    async def ensure_prices(self, plans: dict[PlanName, Plan]) -> None:
        """A product and a monthly price for every plan and currency, made where missing."""
        for plan in plans.values():
            missing = [c for c in Currency if not await self._find(price_key(plan.name, c))]
            if not missing:
                continue
            product = await _asked(self._client.v1.products.create_async({"name": f"OpenClaw {plan.name.value}"}))
            for currency in missing:
                await _asked(
                    self._client.v1.prices.create_async(
                        {
                            "product": product.id,
                            "currency": currency.value,
                            "unit_amount": plan.price_minor[currency],
                            "recurring": {"interval": "month"},
                            "lookup_key": price_key(plan.name, currency),
                        }
                    )
                )

    async def open_endpoint(self, url: str) -> str:
        """Register ``url`` for our events in place of every endpoint there was; the new signing secret."""
        endpoints = self._client.v1.webhook_endpoints
        for old in (await _asked(endpoints.list_async())).data:
            await _asked(endpoints.delete_async(old.id))
        made = await _asked(endpoints.create_async({"url": url, "enabled_events": list(EVENTS)}))  # type: ignore[arg-type]
        if made.secret is None:
            raise Permanent("endpoint_without_secret")
        return made.secret

    async def _price(self, lookup_key: str) -> str:
        found = await self._find(lookup_key)
        if found is None:
            raise Permanent("price_missing", lookup_key=lookup_key)
        return found

    async def _find(self, lookup_key: str) -> str | None:
        listed = await _asked(self._client.v1.prices.list_async({"lookup_keys": [lookup_key], "limit": 1}))
        return listed.data[0].id if listed.data else None


def subject(payload: dict[str, Any]) -> tuple[str | None, str | None]:
    """The subscription and the Checkout session that an event's object is about; None where it names none."""
    thing = payload["object"]
    kind = thing.get("object")
    if kind == "subscription":
        return thing["id"], None
    if kind == "checkout.session":
        return thing.get("subscription"), thing["id"]
    if kind == "invoice":
        parent = (thing.get("parent") or {}).get("subscription_details") or {}
        # Until version 2025-03-31 the invoice named its subscription itself.
        return parent.get("subscription") or thing.get("subscription"), None
    return None, None


def facts(found: stripe.Subscription, draft_id: str | None) -> Facts:
    """A fetched subscription (with ``latest_invoice`` and ``customer`` expanded) as facts.

    Raises Permanent for a subscription without an item.
    """
    item = next(iter(found["items"]["data"]), None)
    if item is None:
        raise Permanent("subscription_without_item", subscription=found.id)
    invoice: Any = found.latest_invoice
    customer: Any = found.customer
    settled = invoice is not None and invoice.status == "paid"
    return Facts(
        stripe_id=found.id,
        stripe_customer_id=customer.id,
        email=getattr(customer, "email", None) or "",  # a deleted customer has none
        status=found.status,
        price_key=item.price.lookup_key or item.price.id,
        paid=settled,
        attempts=0 if invoice is None or settled else invoice.attempt_count,
        period_start=datetime.fromtimestamp(item.current_period_start, UTC),
        period_end=datetime.fromtimestamp(item.current_period_end, UTC),
        cancel_at_period_end=found.cancel_at_period_end,
        draft_id=draft_id,
        invoice_id=getattr(invoice, "id", None),
    )


def _check_recent(signature: str) -> None:
    """Neither old nor from the future, which could be replayed until then; of several times each has to be so."""
    for at in (int(part.strip()[2:]) for part in signature.split(",") if part.strip().startswith("t=")):
        if abs(at - clock.now().timestamp()) > SIGNATURE_TOLERANCE.total_seconds():
            raise ValueError("not signed just now")


def _event(body: bytes) -> Event:
    made = json.loads(body)
    event_id, kind, thing = made["id"], made["type"], made["data"]["object"]
    if not (isinstance(event_id, str) and isinstance(kind, str) and isinstance(thing, dict)):
        raise TypeError("not an event")
    return Event(event_id, kind, {"object": thing})


async def _all(first: stripe.ListObject[stripe.Event]) -> list[Event]:
    return [
        Event(one.id, one.type, {"object": one.data.to_dict(for_json=True)["object"]})
        async for one in first.auto_paging_iter()
    ]


async def _asked(call: Awaitable[T]) -> T:
    try:
        return await call
    except stripe.InvalidRequestError as exc:
        if exc.http_status == 404:
            raise NotFound("stripe_unknown", reason=foreign(exc)) from exc
        raise Permanent("stripe_refused", reason=foreign(exc)) from exc
    except (stripe.AuthenticationError, stripe.PermissionError) as exc:
        # A wrong key is our deployment's fault and not the event's: it waits until the key is right.
        KEY_REFUSED.inc()
        log.error("stripe.key_refused", status=exc.http_status)
        raise Temporary("stripe_key_refused", retry_after=timedelta(minutes=1), reason=foreign(exc)) from exc
    except (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError) as exc:
        raise Temporary("stripe_away", retry_after=timedelta(seconds=5), reason=foreign(exc)) from exc
    except stripe.StripeError as exc:
        raise Permanent("stripe_refused", reason=foreign(exc)) from exc
