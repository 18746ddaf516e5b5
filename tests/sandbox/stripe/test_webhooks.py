"""Signed webhooks: what is sent, when again, and how a test bends the network."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import stripe

from controller.core import clock
from controller.sandbox.documents import Documents
from controller.sandbox.stripe import deliveries
from controller.sandbox.stripe.ledger import Ledger
from tests.sandbox.stripe.account import Account
from tests.sandbox.stripe.conftest import account_in
from tests.sandbox.stripe.receiver import Receiver
from tests.sandbox.stripe.serving import eventually

PAID_SESSION = {
    "checkout.session.completed",
    "customer.subscription.created",
    "invoice.created",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_succeeded",
}


def test_paying_a_session_tells_the_endpoint_in_signed_events(account: Account, receiver: Receiver) -> None:
    secret = account.listen(receiver.url)
    ids = account.bought(account.price())
    eventually(lambda: set(receiver.types(secret)) >= PAID_SESSION)
    completed = next(e for e in receiver.events(secret) if e.type == "checkout.session.completed")
    assert (completed.data.object.id, completed.data.object.subscription) == (ids["session"], ids["subscription"])
    assert completed.api_version == stripe.api_version
    paid = next(e for e in receiver.events(secret) if e.type == "invoice.payment_succeeded")
    assert paid.data.object.billing_reason == "subscription_create"


def test_a_forged_body_does_not_verify(account: Account, receiver: Receiver) -> None:
    secret = account.listen(receiver.url)
    account.price()
    body, header = eventually(lambda: receiver.taken)[0]
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body.replace(b"product", b"produce"), header, secret)


def test_an_endpoint_gets_only_the_types_it_asked_for(account: Account, receiver: Receiver) -> None:
    secret = account.listen(receiver.url, "invoice.paid")
    account.bought(account.price())
    eventually(lambda: account.deliveries(status="delivered"))
    assert receiver.types(secret) == ["invoice.paid"]
    assert len(account.deliveries()) == 1


def test_a_refused_delivery_comes_again_with_growing_pauses(account: Account, receiver: Receiver) -> None:
    receiver.refusals = 2
    account.listen(receiver.url, "product.created")
    account.api.v1.products.create({"name": "P"})
    [row] = eventually(lambda: account.deliveries(status="delivered"))
    assert [attempt["status"] for attempt in row["attempts"]] == [500, 500, 200]
    first, second, third = (attempt["at"] for attempt in row["attempts"])
    assert second - first >= 0.5
    assert third - second >= 1.0


def test_a_clock_that_is_set_back_holds_no_delivery_up(tmp_path: Path) -> None:
    documents = Documents(tmp_path)
    ledger = Ledger(documents)
    ledger.save(
        {"object": "webhook_endpoint", "id": "we_1", "url": "http://x", "status": "enabled", "enabled_events": ["*"]}
    )
    with clock.frozen(clock.now() + timedelta(days=1)):
        deliveries.schedule(ledger, {"id": "evt_1", "object": "event", "type": "product.created"})
    ready, _ = deliveries.due(ledger)
    documents.close()
    assert [row["event"] for row in ready] == ["evt_1"]


def test_a_receiver_that_is_away_gets_everything_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    receiver.refusals = 1
    with account_in(tmp_path) as account:
        secret = account.listen(receiver.url, "product.created")
        account.api.v1.products.create({"name": "P"})
        eventually(lambda: receiver.refused)
    with account_in(tmp_path) as account:
        eventually(lambda: account.deliveries(status="delivered"))
    assert receiver.types(secret) == ["product.created"]


def test_held_deliveries_wait_until_they_are_let_go(account: Account, receiver: Receiver) -> None:
    secret = account.listen(receiver.url, "product.created")
    account.network(paused=True)
    account.api.v1.products.create({"name": "P"})
    assert [row["attempt_count"] for row in account.deliveries(status="waiting")] == [0]
    account.network(paused=False)
    assert eventually(lambda: receiver.types(secret)) == ["product.created"]


def test_doubled_deliveries_carry_the_same_event(account: Account, receiver: Receiver) -> None:
    secret = account.listen(receiver.url, "product.created")
    account.network(duplicate=2)
    account.api.v1.products.create({"name": "P"})
    eventually(lambda: len(receiver.taken) == 3)
    assert len({event.id for event in receiver.events(secret)}) == 1


def test_a_dropped_delivery_is_lost_but_its_event_can_be_listed(account: Account, receiver: Receiver) -> None:
    secret = account.listen(receiver.url, "product.created")
    account.network(drop=1)
    lost, sent = (account.api.v1.products.create({"name": name}).id for name in ("lost", "sent"))
    eventually(lambda: account.deliveries(status="delivered"))
    assert [event.data.object.id for event in receiver.events(secret)] == [sent]
    missed = account.api.v1.events.list({"delivery_success": False, "type": "product.created"})
    assert [event.data.object["id"] for event in missed.data] == [lost]


def test_shuffled_deliveries_arrive_in_the_order_that_the_seed_draws(account: Account, receiver: Receiver) -> None:
    secret = account.listen(receiver.url, "product.created")
    account.network(paused=True, shuffle=True, seed=3, parallel=1)
    made = [account.api.v1.products.create({"name": f"p{n}"}).id for n in range(8)]
    account.network(paused=False)
    eventually(lambda: len(receiver.taken) == 8)
    arrived = [event.data.object.id for event in receiver.events(secret)]
    assert arrived != made
    assert sorted(arrived) == sorted(made)


def test_events_are_delivered_again_on_demand(account: Account, receiver: Receiver) -> None:
    secret = account.listen(receiver.url, "product.created")
    account.api.v1.products.create({"name": "P"})
    [event] = eventually(lambda: receiver.events(secret))
    account.steer("redeliver", event_ids=[event.id], times=4, shuffle_seed=1)
    eventually(lambda: len(receiver.taken) == 5)
    assert {each.id for each in receiver.events(secret)} == {event.id}


def test_a_deleted_endpoint_gets_nothing_more(account: Account, receiver: Receiver) -> None:
    account.listen(receiver.url)
    account.network(paused=True)
    account.api.v1.products.create({"name": "P"})
    endpoint = account.api.v1.webhook_endpoints.list().data[0]
    account.api.v1.webhook_endpoints.delete(endpoint.id)
    assert [row["status"] for row in account.deliveries()] == ["abandoned"]
    assert not endpoint.to_dict().get("secret")


def test_changes_name_what_was_before_and_no_change_is_no_event(account: Account) -> None:
    subscription = account.subscribe(account.price(), metadata={"a": "1"})
    for _ in range(2):
        account.api.v1.subscriptions.update(subscription.id, {"metadata": {"a": "2"}})
    [event] = account.api.v1.events.list({"type": "customer.subscription.updated"}).data
    assert event.data.to_dict()["previous_attributes"] == {"metadata": {"a": "1"}}


def test_a_failed_renewal_tells_of_the_attempt_and_of_past_due(account: Account) -> None:
    subscription = account.subscribe(account.price())
    account.steer(f"subscriptions/{subscription.id}/renew", outcome="failed")
    newest = account.api.v1.events.list({"limit": 3}).data
    assert [event.type for event in newest] == [
        "customer.subscription.updated",
        "invoice.updated",
        "invoice.payment_failed",
    ]
    assert newest[0].data.to_dict()["previous_attributes"] == {"status": "active"}
    assert newest[2].data.object["attempt_count"] == 1


def test_a_seed_draws_how_often_each_event_arrives(tmp_path: Path, receiver: Receiver) -> None:
    copies = []
    for run in ("a", "b"):
        with account_in(tmp_path / run) as account:
            account.network(duplicate_at_most=4, seed=7, delay_ms_at_most=20)
            account.listen(receiver.url, "product.created")
            made = [account.api.v1.products.create({"name": f"p{n}"}).id for n in range(6)]
            rows = eventually(account.settled)
            assert account.standing()["counts"]["delivered"] == len(rows)
            kinds = [account.api.v1.events.retrieve(row["event"]).data.object["id"] for row in rows]
            copies.append([kinds.count(key) for key in made])
    assert copies[0] == copies[1]
    assert 1 <= min(copies[0]) < max(copies[0]) <= 5


def test_held_types_wait_while_the_others_pass(account: Account, receiver: Receiver) -> None:
    secret = account.listen(receiver.url, "product.created", "price.created")
    account.network(held_types=["product.created"], parallel=1)
    account.price()
    eventually(lambda: receiver.types(secret) == ["price.created"])
    account.network(held_types=[])
    eventually(lambda: receiver.types(secret) == ["price.created", "product.created"])


@pytest.mark.parametrize(("mishap", "arrivals"), [("lost_posts", 1), ("lost_answers", 2)])
def test_what_is_lost_on_the_way_comes_again(account: Account, receiver: Receiver, mishap: str, arrivals: int) -> None:
    account.listen(receiver.url, "product.created")
    account.network(first_retry_seconds=0.05, **{mishap: 1})
    account.api.v1.products.create({"name": "P"})
    eventually(lambda: account.deliveries(status="delivered"))
    assert len(receiver.taken) == arrivals
    assert account.standing()["counts"][mishap] == 1


def test_a_delivery_is_given_up_after_its_last_try_and_stays_listed(account: Account, receiver: Receiver) -> None:
    receiver.refusals = 100
    account.listen(receiver.url, "product.created")
    account.network(first_retry_seconds=0.02, attempts_limit=3)
    made = account.api.v1.products.create({"name": "P"}).id
    [row] = eventually(lambda: account.deliveries(status="failed"))
    assert row["attempt_count"] == 3
    missed = account.api.v1.events.list({"delivery_success": False, "types": ["product.created", "price.created"]})
    assert [event.data.object["id"] for event in missed.data] == [made]


def test_a_rolled_secret_signs_beside_the_old_one_for_a_while(account: Account, receiver: Receiver) -> None:
    old = account.listen(receiver.url, "product.created")
    key = account.api.v1.webhook_endpoints.list().data[0].id
    new = account.steer(f"webhook_endpoints/{key}/roll_secret", overlap_seconds=60)["secret"]
    account.api.v1.products.create({"name": "P"})
    eventually(lambda: receiver.taken)
    assert receiver.types(old) == receiver.types(new) == ["product.created"]


def test_an_address_that_nobody_can_have_holds_nobody_else_up(account: Account, receiver: Receiver) -> None:
    account.listen("http://xn--/", "price.created")
    secret = account.listen(receiver.url, "product.created")
    account.price()
    eventually(lambda: [row["attempt_count"] for row in account.deliveries(type="price.created")] > [0])
    account.api.v1.products.create({"name": "P"})
    eventually(lambda: receiver.types(secret) == ["product.created"] * 2)


def test_what_a_refused_request_would_have_held_back_is_delivered(account: Account, receiver: Receiver) -> None:
    secret = account.listen(receiver.url, "product.created")
    account.network(paused=True)
    account.api.v1.products.create({"name": "P"})
    endpoint = account.api.v1.webhook_endpoints.list().data[0].id
    with pytest.raises(stripe.InvalidRequestError):
        account.api.v1.webhook_endpoints.update(endpoint, {"disabled": True, "expand": ["nothing"]})
    account.network(paused=False)
    eventually(lambda: receiver.types(secret) == ["product.created"])
