"""What became of people's commits is told on the forge, once, however often it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from controller.clients.forge import Forge, ForgeSettings, Kind
from controller.core import clock
from controller.core.db import Database
from controller.domain import adoption
from controller.domain.adoption import OpsCommit, Outcome
from controller.workers import reports
from tests.clients import forges
from tests.clients.forges import StandIn

SHA = "a" * 40


@pytest.fixture
def host() -> Iterator[StandIn]:
    with forges.running() as made:
        yield made


@pytest.fixture
async def forge(host: StandIn) -> AsyncIterator[Forge]:
    made = Forge(ForgeSettings(forge_kind=Kind.GITHUB, forge_url=host.url, forge_project="acme/boxes", forge_token="t"))
    yield made
    await made.close()


async def reported(database: Database, *notes: str) -> None:
    """A commit's outcome is on record."""
    async with database.transaction() as session:
        outcome = Outcome.RESTORED if notes else Outcome.ADOPTED
        await adoption.report(session, SHA, "ops:x", outcome, boxes=[], notes=list(notes))


async def row(database: Database) -> OpsCommit:
    async with database.transaction() as session:
        return await session.get_one(OpsCommit, SHA)


async def test_a_commit_that_stands_gets_a_good_status_and_no_comment(
    database: Database, forge: Forge, host: StandIn
) -> None:
    await reported(database)
    await reports.tell(database, forge)
    await reports.tell(database, forge)
    assert [asked.body["state"] for asked in host.asked] == ["success"]


async def test_what_does_not_stand_is_in_the_comment(database: Database, forge: Forge, host: StandIn) -> None:
    await reported(database, "cells/x.yaml: why not", "```")
    await reports.tell(database, forge)
    status, comment = (asked.body for asked in host.asked)
    assert (status["state"], "cells/x.yaml: why not" in comment["body"]) == ("failure", True)
    assert comment["body"].count("```") == 2


async def test_a_forge_that_is_away_is_asked_again_and_repeats_nothing(
    database: Database, forge: Forge, host: StandIn
) -> None:
    await reported(database, "why")
    host.answers += [(201, {}, {}), (502, {}, {})]
    await reports.tell(database, forge)
    assert ((await row(database)).attempts, (await row(database)).told_at) == (1, None)
    with clock.frozen(clock.now() + timedelta(minutes=2)):
        await reports.tell(database, forge)
    assert [asked.path.rsplit("/", 1)[1] for asked in host.asked] == [SHA, "comments", "comments"]
    assert (await row(database)).told_at is not None


async def test_a_forge_that_says_no_is_given_up_with_the_reason(
    database: Database, forge: Forge, host: StandIn
) -> None:
    await reported(database)
    host.answers.append((401, {}, {"message": "Bad credentials"}))
    await reports.tell(database, forge)
    found = await row(database)
    assert found.told_at is not None
    assert "Bad credentials" in str(found.error)


async def test_without_a_forge_nothing_waits(database: Database) -> None:
    await reported(database)
    await reports.tell(database, Forge(ForgeSettings()))
    assert (await row(database)).told_at is not None
