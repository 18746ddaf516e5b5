"""Ops connect, disconnect and look."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controller.core.db import Database
from controller.core.settings import QueueSettings
from tests.api.connections import Api, serving


@pytest.fixture
async def api(database: Database, queue: QueueSettings) -> AsyncIterator[Api]:
    async with serving(database, queue) as served:
        yield served


async def test_a_connection_is_listed_with_its_status_and_version(api: Api) -> None:
    await api.connect(api.a, "slack")
    await api.connect(api.a, "slack", "disconnect")
    (row,) = (await api.get(f"/admin/boxes/{api.a.box_id}/connections")).json()
    assert (row["provider"], row["status"], row["version"]) == ("slack", "disconnected", 2)


async def test_a_change_names_its_job_and_no_change_names_none(api: Api) -> None:
    job_id = (await api.connect(api.a, "slack")).json()["job_id"]
    (job,) = [one for one in (await api.get("/admin/jobs")).json() if one["id"] == job_id]
    assert (job["verb"], job["rev"]) == ("update_connections", 2)
    assert (await api.connect(api.a, "jira", "disconnect")).json()["job_id"] is None


async def test_the_boxs_desired_state_lists_them(api: Api) -> None:
    await api.connect(api.a, "slack")
    spec = (await api.get(f"/admin/boxes/{api.a.box_id}")).json()["spec"]
    assert (spec["connections"], spec["profile"]) == ([{"provider": "slack", "version": 1}], 2)


@pytest.mark.parametrize(
    ("path", "status"),
    [("myspace/connect", 404), ("slack/steal", 422), ("..%2f..%2fetc/connect", 404)],
)
async def test_bad_input_gets_a_clear_error(api: Api, path: str, status: int) -> None:
    answer = await api.post(f"/admin/boxes/{api.a.box_id}/connections/{path}")
    assert answer.status_code == status


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_only_an_admin_may(api: Api, method: str) -> None:
    path = f"/admin/boxes/{api.a.box_id}/connections" + ("/slack/connect" if method == "POST" else "")
    headers = {"Authorization": f"Bearer {api.a.agent_token}"}
    assert (await api.http.request(method, path, headers=headers)).status_code == 401
