"""A subscription's events in any order and number end in the same state; a poisoned one blocks no other."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from controller.clients.stripe import EVENTS, Stripe, StripeSettings
from controller.core import clock
from controller.core.db import Database
from controller.core.errors import CloudError, Temporary
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.domain import catch_up, inbox
from controller.domain.boxes import Box
from controller.domain.inbox import InboxEvent
from controller.domain.jobs import Job
from controller.domain.lifecycle import Mint
from controller.domain.notices import Notice
from controller.domain.plans import PLANS, Currency, get
from controller.domain.subscriptions import Subscription
from controller.sandbox.stripe.app import create_app
from controller.workers import billing
from tests import factories
from tests.sandbox.stripe.serving import serving

KEY = "sk_test_0123456789"


@dataclass(frozen=True)
class Shop:
    """A Stripe with our prices, and what a billing worker is made of."""

    url: str
    stripe: Stripe
    mint: Mint
    database: Database
    bell: Doorbell

    async def buy(self) -> str:
        """A draft, its Checkout, paid; the subscription's id."""
        async with self.database.transaction() as session:
            draft = await factories.draft(session, self.mint)
        session_id, _ = await self.stripe.checkout(
            draft_id=draft.id, plan=get("pro"), currency=Currency.BRL, email="a@example.com", locale="pt-BR",
            web_url="http://localhost",
        )  # fmt: skip
        return str(self.control(f"checkout/sessions/{session_id}/pay", outcome="paid")["subscription"])

    def control(self, path: str, **body: Any) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}/_control/{path}", json=body).raise_for_status()
        made: dict[str, Any] = answer.json()
        return made

    def events(self) -> list[dict[str, Any]]:
        """Everything that Stripe has told so far, oldest first."""
        headers = {"Authorization": f"Bearer {KEY}"}
        listed = httpx.get(f"{self.url}/v1/events", params={"limit": 100}, headers=headers).raise_for_status()
        return list(reversed(listed.json()["data"]))

    async def deliver(self, events: list[dict[str, Any]]) -> None:
        """Each event through the inbox and the worker, as often as it stands in the list."""
        for event in events:
            async with self.database.transaction() as session:
                payload = {"object": event["data"]["object"]}
                await inbox.put(session, "stripe", event["id"], event["type"], payload)
            await billing.handle_event(self.database, self.stripe, self.mint, self.bell, event["id"])

    async def state(self) -> tuple[Any, ...]:
        """What the events came to."""
        async with self.database.transaction() as session:
            boxes = [(box.state, box.plan, box.suspended_for) for box in await session.scalars(select(Box))]
            rows = [(row.status, row.attempts) for row in await session.scalars(select(Subscription))]
            open_events = [e.event_id for e in await session.scalars(select(InboxEvent)) if e.done_at is None]
            provisions = [job.id for job in await session.scalars(select(Job)) if job.verb == "provision"]
        return boxes, rows, open_events, len(provisions)


@pytest.fixture
def stripe_url(tmp_path: Path) -> Iterator[str]:
    with serving(create_app(tmp_path)) as url:
        yield url


@pytest.fixture
async def shop(stripe_url: str, database: Database, queue: QueueSettings) -> Shop:
    settings = StripeSettings(stripe_api_key=SecretStr(KEY), stripe_api_url=stripe_url)
    made = Shop(stripe_url, Stripe(settings), factories.mint(), database, Doorbell(queue))
    await made.stripe.ensure_prices(PLANS)
    return made


@pytest.mark.parametrize("seed", range(5))
async def test_events_twice_and_shuffled_end_in_the_same_state(shop: Shop, seed: int) -> None:
    subscription = await shop.buy()
    invoice = shop.control(f"subscriptions/{subscription}/renew", outcome="failed")["invoice"]
    shop.control(f"invoices/{invoice}/attempt", outcome="failed")
    shop.control(f"invoices/{invoice}/attempt", outcome="paid")
    shuffled = shop.events() * 2
    random.Random(seed).shuffle(shuffled)
    await shop.deliver(shuffled)
    expected: tuple[Any, ...] = ([("active", "pro", [])], [("active", 0)], [], 1)
    assert await shop.state() == expected
    await shop.deliver(shop.events())
    assert await shop.state() == expected


async def test_the_story_told_in_order_suspends_once_and_comes_back(shop: Shop) -> None:
    subscription = await shop.buy()
    await shop.deliver(shop.events())
    invoice = shop.control(f"subscriptions/{subscription}/renew", outcome="failed")["invoice"]
    shop.control(f"invoices/{invoice}/attempt", outcome="failed")
    await shop.deliver(shop.events())
    assert (await shop.state())[0] == [("active", "pro", [])]
    shop.control(f"invoices/{invoice}/attempt", outcome="failed")
    await shop.deliver(shop.events())
    assert (await shop.state())[0] == [("suspended", "pro", ["payment"])]
    shop.control(f"invoices/{invoice}/attempt", outcome="paid")
    await shop.deliver(shop.events())
    assert (await shop.state())[0] == [("active", "pro", [])]


async def test_an_event_that_cannot_be_handled_waits_and_blocks_no_other(shop: Shop) -> None:
    await shop.buy()
    poison = {
        "id": "evt_poison",
        "type": "invoice.paid",
        "data": {"object": {"object": "subscription", "id": "sub_no"}},
    }
    await shop.deliver([poison, *shop.events()])
    boxes, _, left, provisions = await shop.state()
    assert (len(boxes), left, provisions) == (1, ["evt_poison"], 1)


async def test_an_event_waits_while_stripe_refuses_our_key(shop: Shop, stripe_url: str) -> None:
    settings = StripeSettings(stripe_api_key=SecretStr("rk_live_mistaken"), stripe_api_url=stripe_url)
    await shop.buy()
    await dataclasses.replace(shop, stripe=Stripe(settings)).deliver(shop.events())
    async with shop.database.transaction() as session:
        rows = list(await session.scalars(select(InboxEvent).where(InboxEvent.done_at.is_(None))))
    assert {(row.set_aside_at, (row.error or "").split(" ")[0]) for row in rows} == {(None, "stripe_key_refused")}
    await shop.deliver(shop.events())
    assert (await shop.state())[2:] == ([], 1)


async def test_an_event_that_crashes_its_handler_is_counted_and_waits(shop: Shop) -> None:
    with pytest.raises(KeyError):
        await shop.deliver([{"id": "evt_odd", "type": "x", "data": {"object": {"object": "subscription"}}}])
    await billing.count_failure(shop.database, "evt_odd", CloudError("actor_crashed"))
    async with shop.database.transaction() as session:
        event = await session.get_one(InboxEvent, ("stripe", "evt_odd"))
        assert (event.attempts, event.done_at) == (1, None)
        assert (event.error or "").startswith("actor_crashed")


async def test_an_event_about_nothing_of_ours_is_done_at_once(shop: Shop) -> None:
    await shop.deliver([{"id": "evt_1", "type": "product.created", "data": {"object": {"object": "product"}}}])
    assert (await shop.state())[2] == []


async def test_a_failed_payment_is_told_once_an_attempt_however_often_stripe_tells_it(shop: Shop) -> None:
    subscription = await shop.buy()
    await shop.deliver(shop.events())
    invoice = shop.control(f"subscriptions/{subscription}/renew", outcome="failed")["invoice"]
    for _ in range(2):
        await shop.deliver(shop.events() * 3)
        shop.control(f"invoices/{invoice}/attempt", outcome="failed")
    await shop.deliver(shop.events() * 3)
    async with shop.database.transaction() as session:
        told = await session.scalars(select(Notice).where(Notice.channel == "email").order_by(Notice.id))
        keys = [(row.kind, row.dedupe_key) for row in told]
    warned = [("payment_failed", f"{invoice}:1"), ("payment_failed", f"{invoice}:2")]
    assert keys == [*warned, ("payment_suspended", invoice)]


async def test_the_end_of_a_subscription_is_told_once(shop: Shop) -> None:
    subscription = await shop.buy()
    await shop.deliver(shop.events())
    headers = {"Authorization": f"Bearer {KEY}"}
    httpx.delete(f"{shop.url}/v1/subscriptions/{subscription}", headers=headers).raise_for_status()
    await shop.deliver(shop.events() * 2)
    async with shop.database.transaction() as session:
        told = await session.scalars(select(Notice.kind).where(Notice.channel == "email"))
        assert list(told) == ["subscription_ended"]


async def test_a_purchase_whose_every_event_was_lost_is_found_in_stripes_list(shop: Shop) -> None:
    await shop.buy()
    with clock.frozen(clock.now() + timedelta(hours=3)):
        await billing.read_undelivered(shop.database, shop.stripe, shop.bell)
        async with shop.database.transaction() as session:
            found = await inbox.due(session, inbox.STRIPE)
    assert set(found) == {event["id"] for event in shop.events() if event["type"] in EVENTS}
    for event_id in found:
        await billing.handle_event(shop.database, shop.stripe, shop.mint, shop.bell, event_id)
    assert await shop.state() == ([("active", "pro", [])], [("active", 0)], [], 1)


async def test_what_was_delivered_is_not_stored_again(shop: Shop) -> None:
    await shop.buy()
    await shop.deliver(shop.events())
    with clock.frozen(clock.now() + timedelta(hours=3)):
        await billing.read_undelivered(shop.database, shop.stripe, shop.bell)
    assert (await shop.state())[2] == []


async def test_reading_stripes_list_goes_on_where_it_ended_although_stripe_was_away(shop: Shop) -> None:
    away = Stripe(StripeSettings(stripe_api_key=SecretStr(KEY), stripe_api_url="http://127.0.0.1:1"))
    await billing.read_undelivered(shop.database, shop.stripe, shop.bell)
    await shop.buy()
    with clock.frozen(clock.now() + timedelta(days=9)):
        with pytest.raises(Temporary):
            await billing.read_undelivered(shop.database, away, shop.bell)
        await billing.read_undelivered(shop.database, shop.stripe, shop.bell)
        async with shop.database.transaction() as session:
            assert not await catch_up.is_due(session, inbox.STRIPE, timedelta(minutes=5))
            assert await inbox.due(session, inbox.STRIPE)
