"""Ops' requests for rollouts: what they begin, see, hold and take back, and what is refused before anything changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controller.domain import rolling
from controller.domain.boxes import Box
from controller.domain.releases import Rollout
from tests.api.house import House, bearer, code
from tests.clients import chart_repos
from tests.clients.chart_repos import Repository
from tests.domain import fleets
from tests.domain.fleets import NEW, OLD
from tests.factories import UNKNOWN_ID


@pytest.fixture(autouse=True)
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Where the API finds the boxes' chart, with two releases of it."""
    with chart_repos.running(OLD, NEW) as made:
        monkeypatch.setenv("CHARTS_URL", made.url)
        yield made


async def begin(house: House, **more: Any) -> dict[str, Any]:
    answer = await house.admin("POST", "/admin/rollouts", json={"release": NEW, **more})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def stepped(house: House) -> None:
    async with house.database.transaction() as session:
        await rolling.step(session)


async def test_a_rollout_begins_with_what_was_asked_and_careful_in_the_rest(
    house: House, repository: Repository
) -> None:
    told = await begin(house, batch=7, soak=90, patience="PT20M")
    assert (told["release"], told["state"], told["ring"], told["actor"]) == (NEW, "running", None, "admin")
    assert (told["batch"], told["soak_seconds"], told["patience_seconds"], told["failures_percent"]) == (7, 90, 1200, 0)


async def test_its_rings_and_troubles_are_shown(house: House) -> None:
    async with house.database.transaction() as session:
        first, _ = [await fleets.box(session, ring) for ring in (0, 1)]
    rollout = await begin(house)
    await stepped(house)
    async with house.database.transaction() as session:
        await fleets.refused(session, await session.get_one(Box, first.id))
    await stepped(house)
    shown = (await house.admin("GET", f"/admin/rollouts/{rollout['id']}")).json()
    assert (shown["state"], shown["ring"]) == ("stopped", 0)
    assert [(ring["ring"], ring["failed"], ring["waiting"]) for ring in shown["rings"]] == [(0, 1, 0), (1, 0, 1)]
    assert shown["troubles"] == [{"box_id": first.id, "reason": "guard_breached"}]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"release": "2027.1.1"}, "release_unknown"), ({"release": "latest"}, "request_invalid"),
        ({}, "request_invalid"), ({"release": "2026.12"}, "request_invalid"),
        ({"release": "2026.12.1\n"}, "request_invalid"), ({"release": NEW, "batch": 0}, "request_invalid"),
        ({"release": NEW, "soak": -1}, "request_invalid"), ({"release": NEW, "patience": 0}, "request_invalid"),
        ({"release": NEW, "failures_percent": 101}, "request_invalid"),
        ({"release": NEW, "ring": 1}, "request_invalid"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_wrong_order_is_named_and_begins_nothing(idle: House, order: dict[str, Any], expected: str) -> None:
    answer = await idle.admin("POST", "/admin/rollouts", json=order)
    assert (answer.status_code, code(answer)) == (422, expected)
    assert await idle.count(Rollout) == 0


async def test_while_the_charts_are_away_nothing_begins(idle: House, repository: Repository) -> None:
    repository.status = 500
    answer = await idle.admin("POST", "/admin/rollouts", json={"release": NEW})
    assert (answer.status_code, code(answer), await idle.count(Rollout)) == (503, "charts_away", 0)


async def test_a_second_one_is_refused_while_the_first_is_not_over(house: House) -> None:
    first = await begin(house)
    answer = await house.admin("POST", "/admin/rollouts", json={"release": NEW})
    assert (answer.status_code, code(answer)) == (409, "rollout_unfinished")
    assert answer.json()["error"]["facts"]["rollout"] == first["id"]


async def test_it_is_held_goes_on_and_is_taken_back_once_each(house: House) -> None:
    rollout = await begin(house)
    states = []
    for verb in ("pause", "pause", "resume", "resume", "abort", "abort"):
        answer = await house.admin("POST", f"/admin/rollouts/{rollout['id']}/{verb}")
        states.append(answer.json().get("state") or code(answer))
    refused = "rollout_in_another_state"
    assert states == ["paused", refused, "running", refused, "aborting", refused]


async def test_the_fleets_release_follows_the_last_that_was_completed(house: House) -> None:
    assert (await house.admin("GET", "/admin/rollouts")).json() == {"fleet_release": OLD, "rollouts": []}
    await begin(house)
    await stepped(house)
    told = (await house.admin("GET", "/admin/rollouts")).json()
    assert (told["fleet_release"], told["rollouts"][0]["state"]) == (NEW, "completed")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/x", 422), ("GET", f"/{UNKNOWN_ID}", 404), ("POST", f"/{UNKNOWN_ID}/abort", 404),
     ("POST", "/%00/abort", 422), ("POST", f"/{UNKNOWN_ID}/explode", 422)],
)  # fmt: skip
async def test_what_is_not_there_is_told(idle: House, method: str, path: str, status: int) -> None:
    assert (await idle.admin(method, f"/admin/rollouts{path}")).status_code == status


async def test_only_an_admin_rolls_out(house: House) -> None:
    held = await house.box()
    for headers in ({}, bearer(held.agent), bearer(held.proxy)):
        for method, path in (("POST", ""), ("GET", ""), ("POST", f"/{UNKNOWN_ID}/abort")):
            answer = await house.http.request(method, f"/admin/rollouts{path}", headers=headers, json={"release": NEW})
            assert answer.status_code == 401
    assert await house.count(Rollout) == 0
