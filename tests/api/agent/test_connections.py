"""What an agent learns of its connections: its own, how to use them, and no secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import update

from controller.core.db import Database
from controller.core.settings import QueueSettings
from controller.domain.boxes import Box
from controller.domain.mint import Minted
from controller.domain.providers import PROVIDERS
from tests.api.connections import ADMIN, Api, serving

ROUTE = "/internal/agent/connections"


@pytest.fixture
async def api(database: Database, queue: QueueSettings) -> AsyncIterator[Api]:
    async with serving(database, queue) as served:
        yield served


async def seen(api: Api, box: Minted) -> dict[str, Any]:
    answer = (await api.get(ROUTE, box.agent_token)).raise_for_status().json()
    return {one["provider"]: one for one in answer["connections"]}


async def profile(api: Api, box: Minted) -> dict[str, Any]:
    async with api.database.transaction() as session:
        await session.execute(update(Box).values(live_profile=Box.profile))
    made: dict[str, Any] = (await api.get("/internal/agent/profile", box.agent_token)).raise_for_status().json()
    return made


async def test_a_connection_of_one_box_is_never_seen_by_another(api: Api) -> None:
    await api.connect(api.a, "linear")
    assert (await seen(api, api.a))["linear"]["status"] == "connected"
    assert {one["status"] for one in (await seen(api, api.b)).values()} == {"disconnected"}
    assert (await profile(api, api.b))["connections"] == []


@pytest.mark.parametrize("header", ["X-Customer-Id", "X-Box-Id"])
async def test_a_header_opens_no_other_box(api: Api, header: str) -> None:
    await api.connect(api.a, "linear")
    headers = {"Authorization": f"Bearer {api.b.agent_token}", header: api.a.box_id}
    answer = await api.http.get(f"{ROUTE}?box_id={api.a.box_id}", headers=headers)
    assert {one["status"] for one in answer.json()["connections"]} == {"disconnected"}


@pytest.mark.parametrize("kind", ["none", "proxy", "admin", "of another box"])
async def test_only_the_boxs_own_agent_token_opens_it(api: Api, kind: str) -> None:
    mixed = api.a.agent_token.replace(api.a.box_id, api.b.box_id)
    token = {"none": None, "proxy": api.a.proxy_token, "admin": ADMIN, "of another box": mixed}[kind]
    assert (await api.get(ROUTE, token)).status_code == 401


async def test_every_provider_is_listed_with_what_to_do_about_it_in_the_boxs_language(api: Api) -> None:
    await api.connect(api.a, "github")
    await api.connect(api.b, "github")
    in_a, in_b = await seen(api, api.a), await seen(api, api.b)
    assert list(in_a) == list(PROVIDERS)
    assert in_a["github"]["how"].endswith("Nunca mostre o valor da variável.")
    assert in_b["github"]["how"].endswith("Never print the variable.")
    assert "peça à pessoa que conecte o Notion" in in_a["notion"]["how"]


async def test_what_needs_a_reconnect_says_so(api: Api) -> None:
    await api.connect(api.b, "jira")
    await api.connect(api.b, "jira", "require-reconnect")
    jira = (await seen(api, api.b))["jira"]
    assert jira["status"] == "needs_reconnect"
    assert "ask the person to reconnect Jira" in jira["how"]


async def test_nothing_but_the_agreed_fields_is_told(api: Api) -> None:
    await api.connect(api.a, "google")
    assert {frozenset(one) for one in (await seen(api, api.a)).values()} == {
        frozenset({"provider", "name", "status", "use", "how"})
    }


async def test_the_profile_lists_what_is_connected_with_its_version(api: Api) -> None:
    await api.connect(api.a, "google")
    await api.connect(api.a, "google")
    (google,) = (await profile(api, api.a))["connections"]
    assert (google["provider"], google["version"], google["use"], google["status"]) == ("google", 2, "mcp", "connected")
