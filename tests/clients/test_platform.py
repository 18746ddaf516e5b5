"""Ops' command line over the real API: what it lists, approves and refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from controller.cli import app
from controller.core.db import Database
from controller.core.errors import Refused, Temporary
from controller.core.settings import DatabaseSettings, QueueSettings
from controller.domain import boxes, jobs, lifecycle, rolling
from controller.domain.jobs import ApprovalNeeded, Job
from controller.domain.lifecycle import Why
from controller.sandbox.processes import free_port
from tests import factories
from tests.api.conftest import application
from tests.api.house import ADMIN_TOKEN
from tests.clients import chart_repos
from tests.domain import fleets
from tests.domain import test_restores as restores
from tests.domain.fleets import NEW, OLD
from tests.domain.test_work import job
from tests.sandbox.stripe.serving import serving

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the API finds the boxes' chart."""
    with chart_repos.running(OLD, NEW) as made:
        monkeypatch.setenv("CHARTS_URL", made.url)
        yield


@pytest.fixture
async def admin(dsn: str, queue: QueueSettings, shop_url: str) -> AsyncIterator[Run]:
    """Runs ``openclaw-cloud admin`` against an API on a port of its own."""
    served = Database(DatabaseSettings(postgres_dsn=SecretStr(dsn)))
    with serving(application(served, queue, shop_url, factories.mint())) as url:
        yield lambda *said: invoke(url, *said)


def invoke(url: str, *said: str) -> Result:
    return CliRunner().invoke(app, ["admin", *said], env={"API_URL": url, "ADMIN_TOKEN": ADMIN_TOKEN})


async def parked(database: Database) -> Job:
    async with database.transaction() as session:
        made = await job(session)
        jobs.park(made, ApprovalNeeded("cap_reached", limit=1))
    return made


async def test_parked_jobs_are_listed_with_their_reason(database: Database, admin: Run) -> None:
    made = await parked(database)
    told = (await asyncio.to_thread(admin, "jobs", "--state", "needs_approval")).output
    assert told.split() == f"{made.id} {made.box_id} provision needs_approval stripe cap_reached (limit=1)".split()
    (shown,) = json.loads((await asyncio.to_thread(admin, "jobs", "--json")).output)
    assert shown["id"] == made.id


async def test_several_jobs_are_approved_at_once(database: Database, admin: Run) -> None:
    made = [await parked(database) for _ in range(3)]
    result = await asyncio.to_thread(admin, "approve", *(one.id for one in made))
    told = [line for line in result.output.splitlines() if line.startswith("approved")]  # the API logs in between
    assert told == [f"approved: {one.id}" for one in made]
    async with database.transaction() as session:
        assert [one.id for one in await jobs.claim(session)] == [one.id for one in made]


async def test_a_job_is_rejected_with_a_reason(database: Database, admin: Run) -> None:
    made = await parked(database)
    async with database.transaction() as session:
        box = await boxes.get(session, made.box_id)
        suspended = await lifecycle.suspend(session, box, Why("admin"))
        assert suspended is not None
        jobs.park(suspended, ApprovalNeeded("cap_reached"))
    result = await asyncio.to_thread(admin, "jobs", "reject", suspended.id, "--reason", "not this one")
    assert f"rejected: {suspended.id}, followed by " in result.output
    refused = await asyncio.to_thread(admin, "jobs", "reject", made.id, "--reason", "not this one")
    assert "job_not_rejectable" in str(refused.exception)


async def test_a_job_that_waits_for_nothing_is_refused_with_the_apis_reason(database: Database, admin: Run) -> None:
    made = await parked(database)
    said = ["approve", made.id, made.id]
    result = await asyncio.to_thread(admin, *said)
    assert isinstance(result.exception, Refused)
    assert "job_not_parked" in str(result.exception)


@pytest.mark.parametrize("job_id", ["0" * 26, "x", "../boxes", "%00"])
async def test_what_is_no_parked_job_is_refused(admin: Run, job_id: str) -> None:
    assert isinstance((await asyncio.to_thread(admin, "approve", job_id)).exception, Refused)


async def test_a_box_is_stopped_and_started_by_its_id(database: Database, admin: Run) -> None:
    async with database.transaction() as session:
        box_id = (await job(session)).box_id
    told = await asyncio.to_thread(admin, "stop", box_id, "--reason", "it mails strangers", "--json")
    shown = json.loads(next(line for line in told.output.splitlines() if line.startswith('{"id"')))
    assert (shown["box_id"], shown["reason"]) == (box_id, "it mails strangers")
    assert f"started: {box_id} (job " in (await asyncio.to_thread(admin, "start", box_id)).output


async def test_a_box_is_restored_and_its_kept_volume_given_up_by_its_id(database: Database, admin: Run) -> None:
    async with database.transaction() as session:
        box = await restores.upgraded(session)
    order = ("restore", "--box", box.id, "--reason", "it forgot its customers")
    assert f"restoring: {box.id} to {OLD} (job " in (await asyncio.to_thread(admin, *order)).output
    refused = (await asyncio.to_thread(admin, *order)).exception
    assert isinstance(refused, Refused)
    assert "restore_under_way" in str(refused)
    async with database.transaction() as session:
        await restores.well(session, await boxes.get(session, box.id, lock=True))
    told = await asyncio.to_thread(admin, *order, "--discard", "--json")
    shown = json.loads(next(line for line in told.output.splitlines() if line.startswith('{"job_id"')))
    assert (shown["box_id"], shown["volume"]) == (box.id, 0)


async def test_what_does_not_move_is_listed_with_its_reason(database: Database, admin: Run) -> None:
    made = await parked(database)
    told = [line for line in (await asyncio.to_thread(admin, "conditions")).output.splitlines() if made.box_id in line]
    assert told[0].startswith(f"needs_approval  {made.box_id}  ")
    assert told[0].endswith("  cap_reached (limit=1)")
    shown = (await asyncio.to_thread(admin, "box", made.box_id)).output
    assert json.loads(shown[shown.index("{\n") :])["conditions"][0]["waits"] == made.id
    assert isinstance((await asyncio.to_thread(admin, "retry", made.box_id)).exception, Refused)


@pytest.mark.parametrize("said", [("stop", "0" * 26, "--reason", "x"), ("stop", "x", "--reason", "x"), ("start", "..")])
async def test_what_is_no_box_is_refused(admin: Run, said: tuple[str, ...]) -> None:
    assert isinstance((await asyncio.to_thread(admin, *said)).exception, Refused)


def test_an_api_that_is_away_is_told() -> None:
    result = invoke(f"http://127.0.0.1:{free_port()}", "jobs")
    assert isinstance(result.exception, Temporary)


def told(result: Result) -> list[str]:
    """What was printed, without what the API logs in between."""
    return [line.strip() for line in result.output.splitlines() if "admin.rollout" not in line]


async def test_a_rollout_is_begun_seen_and_held_with_its_rings(database: Database, admin: Run) -> None:
    async with database.transaction() as session:
        for ring in (0, 1, 1):
            await fleets.box(session, ring)
    begun = told(await asyncio.to_thread(admin, "rollout", "--release", NEW, "--soak-minutes", "0.5"))
    assert begun[0].endswith(f"{NEW}  running")
    async with database.transaction() as session:
        await rolling.step(session)
    shown = told(await asyncio.to_thread(admin, "rollout", "status"))
    assert (shown[0], shown[1].partition("  ")[2]) == (f"release of the fleet: {OLD}", f"{NEW}  running at ring 0")
    assert shown[2:] == ["ring 0: 1 under way", "ring 1: 2 waiting"]
    assert "paused" in told(await asyncio.to_thread(admin, "rollout", "pause"))[0]
    assert "aborting" in told(await asyncio.to_thread(admin, "rollout", "abort"))[0]


async def test_a_rollout_as_json_has_what_was_asked(admin: Run) -> None:
    said = ["rollout", "--release", NEW, "--batch", "3", "--patience-minutes", "2", "--failures-percent", "5", "--json"]
    (made,) = [json.loads(line) for line in told_json(await asyncio.to_thread(admin, *said)) if "rings" in line]
    assert (made["batch"], made["patience_seconds"], made["failures_percent"], made["soak_seconds"]) == (3, 120, 5, 600)
    (listed,) = [
        json.loads(line)
        for line in told_json(await asyncio.to_thread(admin, "rollout", "status", "--json"))
        if "fleet_release" in line
    ]
    assert listed["rollouts"][0]["id"] == made["id"]


def told_json(result: Result) -> list[str]:
    return [line for line in result.output.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("said", "reason"),
    [(["--release", "2027.1.1"], "release_unknown"), (["--release", "x"], "request_invalid"),
     (["abort"], "rollout_unknown")],
    ids=str,
)  # fmt: skip
async def test_what_cannot_be_rolled_out_is_refused_with_the_reason(admin: Run, said: list[str], reason: str) -> None:
    result = await asyncio.to_thread(admin, "rollout", *said)
    assert isinstance(result.exception, Refused)
    assert reason in str(result.exception)


@pytest.mark.parametrize("said", [[], ["--release", NEW, "status"]], ids=str)
async def test_a_rollout_command_that_makes_no_sense_says_how_it_goes(admin: Run, said: list[str]) -> None:
    result = await asyncio.to_thread(admin, "rollout", *said)
    assert (result.exit_code, "--release" in result.output) == (2, True)
