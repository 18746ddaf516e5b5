"""Ops' verbs raise a job when something changes and none when nothing does; wrong orders are named at once."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from controller.core.errors import Permanent, Temporary
from controller.domain import git_remote, inbox, jobs, sightings
from controller.domain.customers import Customer
from controller.domain.inbox import InboxEvent
from controller.domain.jobs import ApprovalNeeded, Job
from controller.domain.sightings import Look
from tests import factories
from tests.api.house import House, bearer, code
from tests.factories import UNKNOWN_ID


async def verbs(house: House, box_id: str) -> list[str]:
    async with house.database.transaction() as session:
        return [job.verb for job in await session.scalars(select(Job).where(Job.box_id == box_id).order_by(Job.rev))]


async def act(house: House, box_id: str, verb: str, **ask: Any) -> Any:
    return (await house.admin("POST", f"/admin/boxes/{box_id}/{verb}", json=ask)).json()


@pytest.mark.parametrize(
    ("verb", "ask", "raised"),
    [("suspend", {}, "suspend"), ("destroy", {}, "destroy"), ("resize", {"plan": "team"}, "resize")],
)
async def test_a_verb_twice_raises_one_job(house: House, verb: str, ask: dict[str, str], raised: str) -> None:
    held = await house.box()
    first, second = await act(house, held.id, verb, **ask), await act(house, held.id, verb, **ask)
    assert (bool(first["job_id"]), second["job_id"]) == (True, None)
    assert await verbs(house, held.id) == ["provision", raised]


async def test_reactivating_lifts_a_suspension_once(house: House) -> None:
    held = await house.box()
    assert (await act(house, held.id, "reactivate"))["job_id"] is None
    for verb in ("suspend", "reactivate", "reactivate"):
        await act(house, held.id, verb)
    assert await verbs(house, held.id) == ["provision", "suspend", "reactivate"]


@pytest.mark.parametrize("verb", ["suspend", "resize"])
async def test_a_condemned_box_takes_no_other_verb(house: House, verb: str) -> None:
    held = await house.box()
    await act(house, held.id, "destroy")
    assert (await act(house, held.id, verb, plan="team"))["error"]["code"] == "box_ended"


@pytest.mark.parametrize(
    ("path", "status"),
    [("boxes/x/suspend", 422), (f"boxes/{UNKNOWN_ID}/suspend", 404), (f"boxes/{UNKNOWN_ID}/explode", 422),
     (f"jobs/{UNKNOWN_ID}/retry", 404), ("jobs/%00/retry", 422),
     ("inbox/stripe/evt_1/retry", 404), ("inbox/stripe/%00/retry", 422),
     (f"jobs/{UNKNOWN_ID}/approve", 404), ("jobs/%00/approve", 422),
     (f"boxes/{UNKNOWN_ID}/retry", 404), ("boxes/x/retry", 422)],
)  # fmt: skip
async def test_what_is_not_there_or_no_id_is_told(idle: House, path: str, status: int) -> None:
    assert (await idle.admin("POST", f"/admin/{path}")).status_code == status


async def test_only_a_failed_job_can_be_retried(house: House) -> None:
    held = await house.box()
    async with house.database.transaction() as session:
        (job,) = await session.scalars(select(Job).where(Job.box_id == held.id))
    refused = await house.admin("POST", f"/admin/jobs/{job.id}/retry")
    assert (refused.status_code, code(refused)) == (409, "job_not_failed")
    async with house.database.transaction() as session:
        jobs.failed(await session.get_one(Job, job.id), Permanent("x"))
    assert [(await house.admin("POST", f"/admin/jobs/{job.id}/retry")).status_code for _ in range(2)] == [202, 409]


async def test_only_an_event_that_was_set_aside_can_be_retried(house: House) -> None:
    async with house.database.transaction() as session:
        await inbox.put(session, "stripe", "evt_1", "x", {})
    path = "/admin/inbox/stripe/evt_1/retry"
    refused = await house.admin("POST", path)
    assert (refused.status_code, code(refused)) == (409, "event_not_set_aside")
    async with house.database.transaction() as session:
        inbox.failed(await session.get_one(InboxEvent, ("stripe", "evt_1")), Permanent("x"))
    assert [(await house.admin("POST", path)).status_code for _ in range(2)] == [202, 409]


async def test_a_parked_job_is_listed_with_its_reason_and_goes_on_once_approved(house: House) -> None:
    held = await house.box()
    async with house.database.transaction() as session:
        (job,) = await session.scalars(select(Job).where(Job.box_id == held.id))
        jobs.park(job, ApprovalNeeded("cap_reached", limit=1))
    (shown,) = (await house.admin("GET", "/admin/jobs", params={"state": "needs_approval"})).json()
    assert (shown["error"], shown["approvals"]) == ("cap_reached (limit=1)", {"cap_reached": None})
    answers = [await house.admin("POST", f"/admin/jobs/{job.id}/approve") for _ in range(2)]
    assert ([one.status_code for one in answers], code(answers[1])) == ([202, 409], "job_not_parked")
    (shown,) = (await house.admin("GET", "/admin/jobs", params={"state": "queued"})).json()
    assert (shown["id"], shown["approvals"]["cap_reached"]["by"]) == (job.id, "admin")


async def test_a_rejected_job_is_over_and_its_box_as_before(house: House) -> None:
    held = await house.box()
    asked = (await act(house, held.id, "resize", plan="team"))["job_id"]
    async with house.database.transaction() as session:
        jobs.park(await session.get_one(Job, asked), ApprovalNeeded("cap_reached"))
    path, said = f"/admin/jobs/{asked}/reject", {"reason": "they wrote that they did not mean it"}
    answers = [await house.admin("POST", path, json=said) for _ in range(2)]
    async with house.database.transaction() as session:
        after = (await session.scalars(select(Job).where(Job.box_id == held.id, Job.verb == "adopt"))).one()
    assert (answers[0].json(), code(answers[1])) == ({"job_id": asked, "followed_by": after.id}, "job_not_held")
    (shown,) = (await house.admin("GET", "/admin/jobs", params={"state": "rejected"})).json()
    assert (shown["id"], "they wrote" in shown["error"]) == (asked, True)
    assert (await house.admin("GET", f"/admin/boxes/{held.id}")).json()["spec"]["plan"] == "pro"


async def test_only_an_admin_approves_a_job(house: House) -> None:
    held = await house.box()
    async with house.database.transaction() as session:
        (job,) = await session.scalars(select(Job).where(Job.box_id == held.id))
        jobs.park(job, ApprovalNeeded("cap_reached"))
    for headers in ({}, bearer(held.agent), bearer(held.proxy)):
        for verb, said in (("approve", None), ("reject", {"reason": "x"})):
            path = f"/admin/jobs/{job.id}/{verb}"
            assert (await house.http.post(path, headers=headers, json=said)).status_code == 401
    assert (await house.admin("POST", f"/admin/jobs/{job.id}/retry")).status_code == 409


async def test_a_job_is_listed_by_box_and_by_state(house: House) -> None:
    held, other = await house.box(), await house.box()
    mine = (await house.admin("GET", "/admin/jobs", params={"box_id": held.id})).json()
    failed = (await house.admin("GET", "/admin/jobs", params={"state": "failed"})).json()
    assert ([job["box_id"] for job in mine], failed) == ([held.id], [])
    assert {job["box_id"] for job in (await house.admin("GET", "/admin/jobs")).json()} == {held.id, other.id}


async def test_whether_the_git_remote_is_away_is_told_with_the_reason(house: House) -> None:
    await house.box()
    assert (await house.admin("GET", "/admin/git")).json()["away_since"] is None
    async with house.database.transaction() as session:
        git_remote.lost(await git_remote.locked(session), Temporary("git_remote_away", reason="no route"))
    told = (await house.admin("GET", "/admin/git")).json()
    assert (told["error"], told["reason"], told["failures"], told["jobs_waiting"]) == (
        "git_remote_away", "no route", 1, 1,
    )  # fmt: skip
    assert told["away_since"] < told["next_try_at"]


async def test_a_new_customer_has_a_box_and_tokens_that_open_their_doors(house: House) -> None:
    made = (await house.admin("POST", "/admin/customers", json={})).json()
    await house.released(made["box_id"])
    bearer = {"authorization": f"Bearer {made['agent_token']}"}
    told = (await house.http.get("/internal/agent/profile", headers=bearer)).json()
    assert (told["proxy_token"], told["telegram"]) == (made["proxy_token"], None)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"niche": "casino"}, "niche_unknown"), ({"bot_token": "x"}, "bot_token_malformed"),
        ({"plan": "starter", "telegram_users": [1, 2]}, "telegram_users_over_plan"),
        ({"locale": "xx"}, "request_invalid"), ({"niche": "../x"}, "request_invalid"),
        ({"plan": "golden"}, "request_invalid"),
        ({"agent_name": "a\0"}, "request_invalid"), ({"agent_name": " "}, "request_invalid"),
        ({"telegram_users": [-1]}, "request_invalid"), ({"telegram_users": [10**30]}, "request_invalid"),
        ({"email": "x"}, "request_invalid"), ({"customer_id": "x"}, "request_invalid"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_wrong_order_is_named_and_makes_nobody(idle: House, order: dict[str, Any], expected: str) -> None:
    answer = await idle.admin("POST", "/admin/customers", json=order)
    assert code(answer) == expected
    assert await idle.count(Customer) == 0
    assert factories.BOT_TOKEN not in answer.text


async def test_what_does_not_move_is_told_of_a_box_and_of_all(house: House) -> None:
    held, other = await house.box(), await house.box()
    async with house.database.transaction() as session:
        (job,) = await session.scalars(select(Job).where(Job.box_id == held.id))
        jobs.failed(job, Permanent("x"))
        seen = Look(other.id, 1, "Synced", "Healthy", "Failed", "then", "admission refused it", 9, held=False)
        await sightings.record(session, seen)
    everything = (await house.admin("GET", "/admin/conditions")).json()
    assert {(one["box_id"], one["kind"]) for one in everything} == {(held.id, "job_failed"), (other.id, "sync_failed")}
    (only,) = (await house.admin("GET", "/admin/conditions", params={"kind": "sync_failed"})).json()
    shown = (await house.admin("GET", f"/admin/boxes/{other.id}")).json()
    assert (shown["conditions"], shown["application"]["phase"], shown["stoppage"]) == ([only], "Failed", None)
    assert only["reason"] == "rev 1: admission refused it"


async def test_a_box_is_retried_by_a_new_rev_once_its_newest_job_is_in_git(house: House) -> None:
    held = await house.box()
    path = f"/admin/boxes/{held.id}/retry"
    refused = await house.admin("POST", path)
    assert (refused.status_code, code(refused)) == (409, "box_not_renewable")
    async with house.database.transaction() as session:
        (job,) = await session.scalars(select(Job).where(Job.box_id == held.id))
        jobs.committed(job, "a" * 40)
    made = (await house.admin("POST", path)).json()["job_id"]
    (shown,) = [one for one in (await house.admin("GET", "/admin/jobs")).json() if one["id"] == made]
    assert (shown["verb"], shown["rev"], shown["actor"]) == ("reactivate", 2, "admin")
