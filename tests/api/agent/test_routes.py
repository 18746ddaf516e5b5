"""A running box gets its own profile once its commit is pushed, and says when it is ready."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from sqlalchemy import event, select

from controller.domain import boxes, lifecycle
from controller.domain.progress import ProgressEvent
from tests import factories
from tests.api.house import WHY, House, bearer, code

PROFILE = "/internal/agent/profile"


async def test_a_profile_is_not_there_before_its_commit(house: House) -> None:
    held = await house.box()
    answer = await house.http.get(PROFILE, headers=bearer(held.agent), params={"wait": 0})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_released_profile_carries_all_that_the_box_needs(house: House) -> None:
    held = await house.box()
    await house.released(held.id)
    told = (await house.http.get(PROFILE, headers=bearer(held.agent))).json()
    assert (told["version"], told["proxy_token"]) == (1, held.proxy)
    assert told["telegram"] == {"bot_token": factories.BOT_TOKEN, "users": [7001]}


async def test_a_poll_that_waits_is_answered_when_the_profile_is_released(house: House) -> None:
    held = await house.box()
    asking = asyncio.create_task(house.http.get(PROFILE, headers=bearer(held.agent), params={"wait": 20}))
    await house.released(held.id)
    assert (await asking).status_code == 200


async def test_a_profile_that_the_box_has_already_is_not_sent_again(house: House) -> None:
    held = await house.box()
    await house.released(held.id)
    assert (await house.http.get(PROFILE, headers=bearer(held.agent), params={"after": 1})).status_code == 204


async def test_a_box_that_starts_between_a_change_and_its_commit_is_not_told_of_it(house: House) -> None:
    held = await house.box()
    await house.released(held.id)
    assert (await house.connect(held, "linear")).is_success
    assert (await house.http.get(PROFILE, headers=bearer(held.agent))).status_code == 204
    await house.released(held.id, 2)
    told = (await house.http.get(PROFILE, headers=bearer(held.agent))).json()
    assert (told["version"], [one["provider"] for one in told["connections"]]) == (2, ["linear"])


async def test_a_change_while_the_profile_is_put_together_is_not_in_it(house: House) -> None:
    held, asked = await house.box(), asyncio.Event()
    await house.released(held.id)
    event.listen(house.database.engine.sync_engine, "before_cursor_execute", partial(locking, asked))
    async with house.database.transaction() as session:
        await lifecycle.connect(session, await boxes.get(session, held.id, lock=True), "linear", WHY)
        asked.clear()
        asking = asyncio.create_task(house.http.get(PROFILE, headers=bearer(held.agent)))
        async with asyncio.timeout(60):
            await asked.wait()
    assert (await asking).status_code == 204


async def test_a_token_that_dies_during_a_poll_gets_nothing_at_its_end(house: House) -> None:
    held = await house.box()
    looked = asyncio.Event()
    event.listen(house.database.engine.sync_engine, "after_cursor_execute", partial(noted, looked))
    asking = asyncio.create_task(house.http.get(PROFILE, headers=bearer(held.agent), params={"wait": 20}))
    async with asyncio.timeout(60):
        await looked.wait()
    async with house.database.transaction() as session:
        box = await boxes.get(session, held.id, lock=True)
        await lifecycle.condemn(session, box, WHY)
        box.live_profile = 1
    assert (await asking).status_code == 401


async def test_the_token_of_a_suspended_box_opens_nothing_until_it_runs_again(house: House) -> None:
    held = await house.box()
    await house.released(held.id)
    answers = []
    for verb in ("suspend", "reactivate"):
        await house.admin("POST", f"/admin/boxes/{held.id}/{verb}")
        answers.append((await house.http.get(PROFILE, headers=bearer(held.agent))).status_code)
    assert answers == [401, 200]


@pytest.mark.parametrize("query", [{"after": -1}, {"after": "x"}, {"wait": 31}, {"wait": -1}, {"wait": "nan"}])
async def test_a_poll_that_makes_no_sense_is_refused(house: House, query: dict[str, str]) -> None:
    held = await house.box()
    answer = await house.http.get(PROFILE, headers=bearer(held.agent), params=query)
    assert (answer.status_code, code(answer)) == (422, "request_invalid")


async def test_a_revoked_or_crossed_token_opens_nothing(house: House) -> None:
    held, other = await house.box(), await house.box()
    async with house.database.transaction() as session:
        await lifecycle.condemn(session, await boxes.get(session, held.id, lock=True), WHY)
    crossed = other.agent.replace(other.id, held.id)
    for token in (held.agent, held.proxy, other.proxy, crossed, other.agent + "x"):
        answer = await house.http.get(PROFILE, headers=bearer(token))
        assert (answer.status_code, code(answer)) == (401, "token_refused")


async def test_a_ready_report_is_kept_with_what_it_said(house: House) -> None:
    held = await house.box()
    report = {"profile": 1, "gateway": "2026.11.1"}
    body = {**report, "release": "2026.12.1"}
    answer = await house.http.post("/internal/agent/ready", json=body, headers=bearer(held.agent))
    async with house.database.transaction() as session:
        (told,) = await session.scalars(select(ProgressEvent).where(ProgressEvent.name == "ready"))
        box = await boxes.get(session, held.id)
    assert (box.ready_at is not None, box.ready_release) == (True, "2026.12.1")
    assert (answer.status_code, told.facts) == (204, report)


@pytest.mark.parametrize(
    "report", [{}, {"profile": 0, "gateway": "x"}, {"profile": 1, "gateway": "x" * 41}, {"profile": 1, "gateway": "\0"}]
)
async def test_a_report_that_makes_no_sense_is_refused(house: House, report: dict[str, object]) -> None:
    held = await house.box()
    answer = await house.http.post("/internal/agent/ready", json=report, headers=bearer(held.agent))
    assert (answer.status_code, code(answer)) == (422, "request_invalid")


def noted(looked: asyncio.Event, _connection: object, _cursor: object, statement: str, *_: object) -> None:
    """Set ``looked`` when a poll has passed the door and asks for its box."""
    if "FROM boxes" in statement:
        looked.set()


def locking(asked: asyncio.Event, _connection: object, _cursor: object, statement: str, *_: object) -> None:
    """Set ``asked`` when somebody asks for a box that nobody may change meanwhile."""
    if "FROM boxes" in statement and "FOR NO KEY UPDATE" in statement:
        asked.set()
