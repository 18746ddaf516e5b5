"""Ops stop a box by one call, and see how far that is."""

from __future__ import annotations

import pytest

from tests import standbys
from tests.api.house import Held, House, bearer, code
from tests.factories import UNKNOWN_ID


async def stop(house: House, held: Held, reason: str = "it mails strangers") -> dict[str, object]:
    answer = await house.admin("POST", f"/admin/boxes/{held.id}/stop", json={"reason": reason})
    assert answer.status_code == 202
    told: dict[str, object] = answer.json()
    return told


async def test_the_order_and_its_reason_are_on_record(house: House) -> None:
    held = await house.box()
    told = await stop(house, held)
    assert (told["actor"], told["reason"], told["halted_at"]) == ("admin", "it mails strangers", None)
    assert (await house.admin("GET", f"/admin/boxes/{held.id}/stoppage")).json() == told


async def test_its_agent_is_refused_from_then_on(house: House) -> None:
    held = await house.box()
    await house.released(held.id)
    path = "/internal/agent/profile"
    assert (await house.http.get(path, headers=bearer(held.agent))).status_code == 200
    await stop(house, held)
    assert (await house.http.get(path, headers=bearer(held.agent))).status_code == 401


async def test_starting_names_the_job_and_what_was_not_stopped_has_none(house: House) -> None:
    held = await house.box()
    path = f"/admin/boxes/{held.id}/start"
    assert (await house.admin("POST", path)).json()["job_id"] is None
    await stop(house, held)
    assert (await house.admin("POST", path)).json()["job_id"]
    assert (await house.admin("GET", f"/admin/boxes/{held.id}/stoppage")).json()["lifted_by"] == "admin"


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        (f"{UNKNOWN_ID}/stop", {"reason": "x"}, 404, "box_unknown"), ("x/stop", {"reason": "x"}, 422, "id_malformed"),
        (f"{UNKNOWN_ID}/stop", {}, 422, "request_invalid"), (f"{UNKNOWN_ID}/start", {}, 404, "box_unknown"),
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_no_box_or_no_order_is_told(
    idle: House, path: str, body: dict[str, str], status: int, said: str
) -> None:
    answer = await idle.admin("POST", f"/admin/boxes/{path}", json=body)
    assert (answer.status_code, code(answer)) == (status, said)


async def test_an_empty_reason_and_a_box_that_ended_are_refused(house: House) -> None:
    held = await house.box()
    refused = await house.admin("POST", f"/admin/boxes/{held.id}/stop", json={"reason": " "})
    assert (refused.status_code, code(refused)) == (422, "reason_malformed")
    await house.admin("POST", f"/admin/boxes/{held.id}/destroy")
    answer = await house.admin("POST", f"/admin/boxes/{held.id}/start")
    assert (answer.status_code, code(answer)) == (409, "box_ended")


async def test_a_standby_can_be_ended_and_not_stopped(house: House) -> None:
    async with house.database.transaction() as session:
        box = await standbys.ready(session, house.mint)
    answer = await house.admin("POST", f"/admin/boxes/{box.id}/stop", json={"reason": "x"})
    assert (answer.status_code, code(answer)) == (409, "box_unowned")
    assert (await house.admin("GET", f"/admin/boxes/{box.id}/stoppage")).json() is None
    assert (await house.admin("POST", f"/admin/boxes/{box.id}/destroy")).status_code == 202


async def test_only_an_admin_stops_a_box(house: House) -> None:
    held = await house.box()
    for headers in ({}, bearer(held.agent), bearer(held.proxy)):
        answer = await house.http.post(f"/admin/boxes/{held.id}/stop", headers=headers, json={"reason": "x"})
        assert answer.status_code == 401
