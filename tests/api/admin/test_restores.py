"""Ops take a box's data back by one call, and give up what is left of it by another; who and why is on record."""

from __future__ import annotations

import pytest

from controller.domain import boxes
from controller.domain.boxes import Box
from tests.api.house import House, bearer, code
from tests.domain import test_restores as rules
from tests.domain.fleets import NEW, OLD
from tests.factories import UNKNOWN_ID

WHY = {"reason": "it forgot its customers"}


async def upgraded(house: House) -> Box:
    async with house.database.transaction() as session:
        return await rules.upgraded(session)


async def test_a_restore_names_its_job_release_and_volume_and_is_on_record_with_who_and_why(house: House) -> None:
    box = await upgraded(house)
    answer = await house.admin("POST", f"/admin/boxes/{box.id}/restore", json=WHY)
    told = answer.json()
    assert (answer.status_code, told["release"], told["volume"]) == (202, OLD, 3)
    (job, *_) = (await house.admin("GET", "/admin/jobs", params={"box_id": box.id})).json()
    assert (job["id"], job["verb"], job["actor"], job["reason"]) == (told["job_id"], "restore", "admin", WHY["reason"])
    shown = (await house.admin("GET", f"/admin/boxes/{box.id}")).json()
    assert (shown["spec"]["volumes"]["kept"], shown["application"]["snapshot"]) == ({"rev": 0}, f"data-{OLD}-2")


async def test_the_kept_volume_is_given_up_by_its_number(house: House) -> None:
    box = await upgraded(house)
    await house.admin("POST", f"/admin/boxes/{box.id}/restore", json=WHY)
    async with house.database.transaction() as session:
        await rules.well(session, await boxes.get(session, box.id, lock=True))
    answer = await house.admin("POST", f"/admin/boxes/{box.id}/discard", json=WHY)
    assert (answer.status_code, answer.json()["volume"]) == (202, 0)


async def test_what_may_not_be_is_told_in_a_sentence(house: House) -> None:
    held = await house.box()
    answer = await house.admin("POST", f"/admin/boxes/{held.id}/restore", json=WHY)
    assert (answer.status_code, code(answer)) == (409, "snapshot_missing")
    assert answer.json()["error"]["facts"]["hint"] == "no upgrade of this box has kept a snapshot yet"


@pytest.mark.parametrize("verb", ["restore", "discard"])
@pytest.mark.parametrize(
    ("box", "body", "status", "said"),
    [
        (UNKNOWN_ID, WHY, 404, "box_unknown"), ("x", WHY, 422, "id_malformed"),
        (UNKNOWN_ID, {}, 422, "request_invalid"),
    ],
    ids=["unknown", "no id", "no reason"],
)  # fmt: skip
async def test_what_is_no_box_or_no_order_is_told(
    idle: House, verb: str, box: str, body: dict[str, str], status: int, said: str
) -> None:
    answer = await idle.admin("POST", f"/admin/boxes/{box}/{verb}", json=body)
    assert (answer.status_code, code(answer)) == (status, said)


@pytest.mark.parametrize("verb", ["restore", "discard"])
async def test_nobody_else_may(house: House, verb: str) -> None:
    held = await house.box()
    answer = await house.http.post(f"/admin/boxes/{held.id}/{verb}", json=WHY, headers=bearer(held.agent))
    assert answer.status_code == 401
    async with house.database.transaction() as session:
        assert (await boxes.get(session, held.id)).release != NEW
