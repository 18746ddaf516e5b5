"""What an agent learns of its connections: its own, how to use them, and no secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from controller.domain.providers import PROVIDERS
from tests.api.house import ADMIN_TOKEN, Held, House, bearer

ROUTE = "/internal/agent/connections"


@dataclass(frozen=True)
class Two:
    """Two boxes behind one API: A in Portuguese, B in English."""

    house: House
    a: Held
    b: Held


@pytest.fixture
async def two(house: House) -> Two:
    return Two(house, await house.box(), await house.box(locale="en"))


async def seen(house: House, box: Held) -> dict[str, Any]:
    answer = (await house.http.get(ROUTE, headers=bearer(box.agent))).raise_for_status().json()
    return {one["provider"]: one for one in answer["connections"]}


async def profile(house: House, box: Held) -> dict[str, Any]:
    await house.released(box.id, 9)
    answer = await house.http.get("/internal/agent/profile", headers=bearer(box.agent))
    made: dict[str, Any] = answer.raise_for_status().json()
    return made


async def test_a_connection_of_one_box_is_never_seen_by_another(two: Two) -> None:
    await two.house.connect(two.a, "linear")
    assert (await seen(two.house, two.a))["linear"]["status"] == "connected"
    assert {one["status"] for one in (await seen(two.house, two.b)).values()} == {"disconnected"}
    assert (await profile(two.house, two.b))["connections"] == []


@pytest.mark.parametrize("header", ["X-Customer-Id", "X-Box-Id"])
async def test_a_header_opens_no_other_box(two: Two, header: str) -> None:
    await two.house.connect(two.a, "linear")
    headers = bearer(two.b.agent) | {header: two.a.id}
    answer = await two.house.http.get(f"{ROUTE}?box_id={two.a.id}", headers=headers)
    assert {one["status"] for one in answer.json()["connections"]} == {"disconnected"}


@pytest.mark.parametrize("kind", ["proxy", "admin", "of another box"])
async def test_only_the_boxs_own_agent_token_opens_it(two: Two, kind: str) -> None:
    mixed = two.a.agent.replace(two.a.id, two.b.id)
    token = {"proxy": two.a.proxy, "admin": ADMIN_TOKEN, "of another box": mixed}[kind]
    assert (await two.house.http.get(ROUTE, headers=bearer(token))).status_code == 401


async def test_every_provider_is_listed_with_what_to_do_about_it_in_the_boxs_language(two: Two) -> None:
    await two.house.connect(two.a, "github")
    await two.house.connect(two.b, "github")
    in_a, in_b = await seen(two.house, two.a), await seen(two.house, two.b)
    assert list(in_a) == list(PROVIDERS)
    assert in_a["github"]["how"].endswith("Nunca mostre o valor da variável.")
    assert in_b["github"]["how"].endswith("Never print the variable.")
    assert "peça à pessoa que conecte o Notion" in in_a["notion"]["how"]


async def test_what_needs_a_reconnect_says_so(two: Two) -> None:
    await two.house.connect(two.b, "jira")
    await two.house.connect(two.b, "jira", "require-reconnect")
    jira = (await seen(two.house, two.b))["jira"]
    assert jira["status"] == "needs_reconnect"
    assert "ask the person to reconnect Jira" in jira["how"]


async def test_nothing_but_the_agreed_fields_is_told(two: Two) -> None:
    await two.house.connect(two.a, "google")
    assert {frozenset(one) for one in (await seen(two.house, two.a)).values()} == {
        frozenset({"provider", "name", "status", "use", "how"})
    }


async def test_the_profile_lists_what_is_connected_with_its_version(two: Two) -> None:
    await two.house.connect(two.a, "google")
    await two.house.connect(two.a, "google")
    (google,) = (await profile(two.house, two.a))["connections"]
    assert (google["provider"], google["version"], google["use"], google["status"]) == ("google", 2, "mcp", "connected")
