"""Ops' command line over the real API: what it lists, approves and refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from controller.cli import app
from controller.core.db import Database
from controller.core.errors import Refused, Temporary
from controller.core.settings import DatabaseSettings, QueueSettings
from controller.domain import boxes, jobs, lifecycle
from controller.domain.jobs import ApprovalNeeded, Job
from controller.domain.lifecycle import Why
from controller.sandbox.processes import free_port
from tests import factories
from tests.api.conftest import application
from tests.api.house import ADMIN_TOKEN
from tests.domain.test_work import job
from tests.sandbox.stripe.serving import serving

Run = Callable[..., Result]


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
    assert f"rejected: {suspended.id}" in result.output.splitlines()
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


def test_an_api_that_is_away_is_told() -> None:
    result = invoke(f"http://127.0.0.1:{free_port()}", "jobs")
    assert isinstance(result.exception, Temporary)
