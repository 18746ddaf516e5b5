"""Answers become a draft and a place to pay; what is wrong is named, and the bot token is seen by nobody."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from controller.core import ids
from controller.domain import lifecycle, vault
from controller.domain.boxes import Box
from controller.domain.drafts import Draft
from controller.domain.subscriptions import Subscription
from controller.domain.vault import SealedSecret
from tests import factories
from tests.api.house import WHY, House, code

ANSWERS: dict[str, Any] = factories.answers().model_dump(mode="json")


async def post(house: House, **changed: Any) -> httpx.Response:
    return await house.http.post("/onboarding/drafts", json={**ANSWERS, **changed})


WRONG: dict[str, dict[str, Any]] = {
    "no niche": {"niche": ""},
    "a path as the niche": {"niche": "../general"},
    "no name": {"agent_name": "   "},
    "a name of two lines": {"agent_name": "Ana\nJob-Id: x"},
    "a name with a control character": {"agent_name": "Ana\0"},
    "a name that is too long": {"agent_name": "x" * 61},
    "a token without a colon": {"bot_token": "123456789AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"},
    "a token that is too short": {"bot_token": "123456789:short"},
    "a token with a slash": {"bot_token": "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDs/w1"},
    "no users": {"telegram_users": []},
    "a user that is no number": {"telegram_users": ["ana"]},
    "a negative user": {"telegram_users": [-5]},
    "a huge user": {"telegram_users": [10**30]},
    "an unknown plan": {"plan": "golden"},
    "an unknown currency": {"currency": "eur"},
    "an unknown locale": {"locale": "xx"},
    "an e-mail without a domain": {"email": "ana"},
    "an e-mail with a line break": {"email": "ana@example.com\nbcc: x@example.com"},
    "an e-mail with a NUL": {"email": "a\0na@example.com"},
    "an e-mail that is too long": {"email": "a" * 250 + "@example.com"},
}


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_answer_is_named_and_nothing_is_stored(idle: House, changed: dict[str, Any]) -> None:
    answer = await post(idle, **changed)
    fields = answer.json()["error"]["facts"]["fields"]
    assert (answer.status_code, code(answer)) == (422, "request_invalid")
    assert {name.split(".")[0] for name in fields} == set(changed)
    assert await idle.count(Draft) == 0


@pytest.mark.parametrize("name", ["customer_id", "price", "\ud800", "a" * 100, "é"])
async def test_an_unknown_key_is_refused(idle: House, name: str) -> None:
    body = json.dumps({**ANSWERS, name: "x"})
    answer = await idle.http.post("/onboarding/drafts", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, code(answer)) == (422, "request_invalid")


@pytest.mark.parametrize("missing", sorted(set(ANSWERS) - {"locale", "currency"}))
async def test_a_missing_answer_is_named(idle: House, missing: str) -> None:
    answer = await idle.http.post("/onboarding/drafts", json={k: v for k, v in ANSWERS.items() if k != missing})
    assert list(answer.json()["error"]["facts"]["fields"]) == [missing]


async def test_a_niche_that_we_do_not_sell_is_named_with_those_that_we_do(idle: House) -> None:
    answer = await post(idle, niche="casino")
    assert (answer.status_code, code(answer)) == (422, "niche_unknown")
    assert answer.json()["error"]["facts"]["known"] == sorted(factories.NICHES)


@pytest.mark.parametrize(("plan", "users"), [("starter", 1), ("pro", 3), ("team", 10)])
async def test_each_plan_has_its_number_of_telegram_users(house: House, plan: str, users: int) -> None:
    allowed = await post(house, plan=plan, telegram_users=list(range(1, users + 1)))
    refused = await post(house, plan=plan, telegram_users=list(range(1, users + 2)))
    assert (allowed.status_code, refused.status_code) == (201, 429)
    assert refused.json()["error"] == {
        "code": "telegram_users_over_plan", "facts": {"allowed": users, "asked": users + 1},
    }  # fmt: skip


async def test_the_same_user_twice_counts_once(house: House) -> None:
    assert (await post(house, plan="starter", telegram_users=[7, 7, 7])).status_code == 201


async def test_the_answer_says_where_to_pay_and_the_session_knows_the_draft(house: House) -> None:
    made = (await post(house)).json()
    assert ids.checked(made["draft_id"])
    assert made["checkout_url"].startswith(house.stripe_url)
    async with house.database.transaction() as session:
        stored = await session.get_one(Draft, made["draft_id"])
    told = sessions(house)[stored.checkout_id or ""]
    assert told["client_reference_id"] == made["draft_id"]


async def test_the_bot_token_is_sealed_and_never_echoed_nor_logged(house: House) -> None:
    with capture_logs() as logs:
        answers = [await post(house), await post(house, email="x"), await post(house, niche="casino")]
    async with house.database.transaction() as session:
        rows = [vars(row) for table in (Draft, SealedSecret) for row in await session.scalars(select(table))]
        sealed = await vault.get(session, house.mint.sealer, rows[0]["id"], vault.TELEGRAM, 1, reader="test")
    assert sealed == factories.BOT_TOKEN
    assert factories.BOT_TOKEN not in f"{rows} {logs} {[answer.text for answer in answers]}"


async def test_a_token_of_the_wrong_form_is_not_echoed(idle: House) -> None:
    assert "987:secret" not in (await post(idle, bot_token="987:secret")).text


async def test_while_stripe_is_away_the_answer_says_so_and_trying_again_works(
    house_without_stripe: House, house: House
) -> None:
    away = await post(house_without_stripe)
    assert (away.status_code, code(away)) == (503, "stripe_away")
    assert int(away.headers["retry-after"]) >= 1
    assert (await post(house)).status_code == 201


async def test_only_one_draft_of_a_buyer_who_tried_twice_is_paid(house_without_stripe: House, house: House) -> None:
    await post(house_without_stripe)
    draft_id = (await post(house)).json()["draft_id"]
    known = [s for s in sessions(house).values() if s["client_reference_id"] == draft_id]
    async with house.database.transaction() as session:
        drafts = {draft.id: draft.checkout_id for draft in await session.scalars(select(Draft))}
    assert len(known) == 1
    assert [draft for draft, checkout in drafts.items() if checkout] == [draft_id]


async def test_a_draft_waits_until_it_is_paid_and_then_tells_its_box(house: House) -> None:
    draft_id = (await post(house)).json()["draft_id"]
    assert (await status(house, draft_id)).json()["status"] == "waiting"
    async with house.database.transaction() as session:
        await lifecycle.converge(session, house.mint, factories.facts(draft_id), WHY)
    told = (await status(house, draft_id)).json()
    assert told["status"] == "active"
    assert [(one["seq"], one["name"]) for one in told["progress"]] == [(1, "paid")]
    assert (await status(house, draft_id, after=1)).json()["progress"] == []
    assert (await house.count(Subscription), await house.count(Box)) == (1, 1)


@pytest.mark.parametrize("after", ["-1", str(2**31), str(10**30), "x", "1.5"])
async def test_a_sequence_that_cannot_be_is_refused(house: House, after: str) -> None:
    draft_id = (await post(house)).json()["draft_id"]
    async with house.database.transaction() as session:
        await lifecycle.converge(session, house.mint, factories.facts(draft_id), WHY)
    answer = await house.http.get(f"/onboarding/drafts/{draft_id}", params={"after": after})
    assert (answer.status_code, code(answer)) == (422, "request_invalid")


async def test_a_draft_that_is_not_there_is_not_found(idle: House) -> None:
    answer = await status(idle, ids.new())
    assert (answer.status_code, code(answer)) == (404, "draft_unknown")


async def status(house: House, draft_id: str, after: int = 0) -> httpx.Response:
    return await house.http.get(f"/onboarding/drafts/{draft_id}", params={"after": after})


def sessions(house: House) -> dict[str, dict[str, Any]]:
    """Stripe's newest Checkout sessions by id."""
    headers = {"Authorization": "Bearer sk_test_shop"}
    listed = httpx.get(f"{house.stripe_url}/v1/checkout/sessions", params={"limit": 100}, headers=headers)
    return {one["id"]: one for one in listed.raise_for_status().json()["data"]}
