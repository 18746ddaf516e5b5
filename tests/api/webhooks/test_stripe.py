"""An event enters once, and only if Stripe signed exactly these bytes a moment ago."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
import redis
from sqlalchemy import select

from controller.core import clock
from controller.domain.inbox import InboxEvent
from tests.api.house import House, code, event, mac, signed

BODY = event()
Forge = Callable[[bytes], str]
FORGERIES: dict[str, Forge] = {
    "missing": lambda _: "",
    "not a signature": lambda _: "hello",
    "no time": lambda body: f"v1={mac(body, int(time.time()))}",
    "time is not a number": lambda body: f"t=now,v1={mac(body, int(time.time()))}",
    "another secret": lambda body: signed(body, secret="whsec_other"),
    "six minutes old": lambda body: signed(body, time.time() - 360),
    "an hour ahead": lambda body: signed(body, time.time() + 3600),
    "six minutes old and new at once": lambda body: f"t={int(time.time())},{signed(body, time.time() - 360)}",
    "another body's": lambda body: signed(body + b" "),
    "only the old scheme": lambda body: signed(body).replace("v1=", "v0="),
    "another time's": lambda body: f"t={int(time.time())},v1={mac(body, int(time.time()) - 60)}",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_what_stripe_did_not_sign_just_now_is_refused_and_not_stored(idle: House, forge: Forge) -> None:
    answer = await idle.deliver(BODY, forge(BODY))
    assert (answer.status_code, code(answer)) == (400, "signature_refused")
    assert await idle.count(InboxEvent) == 0


@pytest.mark.parametrize("minutes", [10, -10], ids=["behind", "ahead"])
async def test_a_machine_whose_clock_is_off_takes_what_was_signed_just_now(house: House, minutes: int) -> None:
    true = clock.now() + timedelta(minutes=minutes)
    with clock.frozen(true):  # as Postgres has it, which our clock follows
        assert (await house.deliver(BODY, signed(BODY, true.timestamp()))).status_code == 204


async def test_a_request_without_the_header_is_refused(idle: House) -> None:
    answer = await idle.http.post("/webhooks/stripe", content=BODY)
    assert (answer.status_code, code(answer)) == (400, "signature_refused")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"7", b'"x"', b"{}", b'{"id": "evt_1"}', b"\xff\xfe", b"{"])
async def test_signed_bytes_that_are_no_event_are_refused(idle: House, body: bytes) -> None:
    answer = await idle.deliver(body)
    assert (answer.status_code, code(answer)) == (400, "signature_refused")


async def test_the_signature_holds_for_the_bytes_and_not_for_their_meaning(idle: House) -> None:
    again = json.dumps(json.loads(BODY), separators=(",", ":")).encode()
    assert (await idle.deliver(again, signed(BODY))).status_code == 400


async def test_a_signed_event_is_stored_as_it_came_and_its_bell_rung(house: House, queue_url: str) -> None:
    body = event(name="São Paulo", amount=7)
    assert (await house.deliver(body)).status_code == 204
    async with house.database.transaction() as session:
        (stored,) = await session.scalars(select(InboxEvent))
    assert (stored.source, stored.kind, stored.done_at) == ("stripe", "product.created", None)
    assert stored.payload == {"object": json.loads(body)["data"]["object"]}
    with redis.Redis.from_url(queue_url) as opened:
        assert opened.hlen("oc:billing.msgs") == 1


async def test_five_deliveries_at_once_are_stored_once_and_all_thanked(house: House) -> None:
    answers = await asyncio.gather(*(house.deliver(BODY) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [204] * 5
    assert await house.count(InboxEvent) == 1


async def test_a_body_over_the_limit_is_refused_before_anything_looks_at_it(idle: House) -> None:
    answer = await idle.deliver(b"{" * 1_000_001)
    assert (answer.status_code, code(answer)) == (413, "event_too_large")


async def test_a_body_without_end_is_not_read_to_its_end(idle: House) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            sent += 100_000
            yield b"x" * 100_000

    answer = await idle.http.post("/webhooks/stripe", content=endless(), headers={"stripe-signature": "t=1,v1=x"})
    assert answer.status_code == 413
    assert sent < 2_000_000


async def test_without_postgres_the_answer_asks_stripe_to_come_again(house_without_postgres: House) -> None:
    answer = await house_without_postgres.deliver(BODY)
    assert (answer.status_code, code(answer)) == (503, "database_away")
    assert int(answer.headers["retry-after"]) >= 1
