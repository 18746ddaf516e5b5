"""Ops connect, disconnect and look."""

from __future__ import annotations

import pytest

from tests.api.house import House, code


async def test_a_connection_is_listed_with_its_status_and_version(house: House) -> None:
    box = await house.box()
    await house.connect(box, "slack")
    await house.connect(box, "slack", "disconnect")
    (row,) = (await house.admin("GET", f"/admin/boxes/{box.id}/connections")).json()
    assert (row["provider"], row["status"], row["version"]) == ("slack", "disconnected", 2)


async def test_a_change_names_its_job_and_no_change_names_none(house: House) -> None:
    box = await house.box()
    job_id = (await house.connect(box, "slack")).json()["job_id"]
    (job,) = [one for one in (await house.admin("GET", "/admin/jobs")).json() if one["id"] == job_id]
    assert (job["verb"], job["rev"]) == ("update_connections", 2)
    assert (await house.connect(box, "jira", "disconnect")).json()["job_id"] is None


async def test_the_boxs_desired_state_lists_them(house: House) -> None:
    box = await house.box()
    await house.connect(box, "slack")
    spec = (await house.admin("GET", f"/admin/boxes/{box.id}")).json()["spec"]
    assert (spec["connections"], spec["profile"]) == ([{"provider": "slack", "version": 1}], 2)


@pytest.mark.parametrize(
    ("provider", "verb", "status", "said"),
    [
        ("myspace", "connect", 404, "provider_unknown"),
        ("slack", "steal", 422, "request_invalid"),
        ("..%2f..%2fetc", "connect", 404, "not_found"),
    ],
)
async def test_bad_input_gets_a_clear_error(house: House, provider: str, verb: str, status: int, said: str) -> None:
    answer = await house.connect(await house.box(), provider, verb)
    assert (answer.status_code, code(answer)) == (status, said)
