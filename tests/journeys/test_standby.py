"""A second purchase claims a box that stood by: Git, cluster and the real gateway as ever, and no boot to wait for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from pydantic import SecretStr

from controller.core.crypto import Sealer
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import DatabaseSettings, QueueSettings
from controller.domain import bells, boxes, lifecycle, standbys
from controller.domain.boxes import BoxSettings
from controller.domain.lifecycle import Mint
from controller.sandbox.journey import Customer
from tests.journeys.conftest import BOOT, Bought
from tests.journeys.test_purchase import api_server, git, query

pytestmark = pytest.mark.gateway


@dataclass(frozen=True)
class Claimed:
    """What the second customer got, and their box's containers before and after."""

    box_id: str
    customer: Customer
    verb: str
    reply: str
    stood_by: list[str]
    serve: list[str]


@pytest.fixture(scope="module")
def claimed(bought: Bought) -> Claimed:
    return bought.run.run(_claim(bought))


async def _claim(bought: Bought) -> Claimed:
    async with _pool(bought) as database:
        mint = Mint(Sealer(bought.stack.state.sealing_key), bought.stack.state.token_pepper, BoxSettings())
        async with database.transaction() as session:
            job = await lifecycle.prepare(session, mint, "starter", standbys.WHY)
        await Doorbell(QueueSettings(queue_redis_url=SecretStr(bought.stack.at.queue))).ring(bells.COMMITS)
        await _serves(database, job.box_id)
        stood_by = _containers(bought, job.box_id)
        customer = Customer(bought.stack.addresses())
        await customer.order()
        await customer.pay()
        committed = await customer.milestone("committed", BOOT)
        await customer.milestone("done", BOOT, verb=committed["facts"]["verb"])
        await customer.say("Vocês entregam em casa?")
        reply = await customer.hear(BOOT)
        serve = _containers(bought, job.box_id)
        return Claimed(job.box_id, customer, committed["facts"]["verb"], reply, stood_by, serve)


@contextlib.asynccontextmanager
async def _pool(bought: Bought) -> AsyncIterator[Database]:
    """The pool is ours: the sandbox's own sweeper wants no standbys and would end this one."""
    database = Database(DatabaseSettings(postgres_dsn=SecretStr(bought.stack.at.dsn)))
    async with contextlib.AsyncExitStack() as held:
        held.push_async_callback(database.close)
        while True:
            async with database.exclusive(standbys.LOCK) as ours:
                if ours:
                    yield database
                    return
            await asyncio.sleep(0.05)


async def _serves(database: Database, box_id: str) -> None:
    async with asyncio.timeout(BOOT.total_seconds()):
        while True:
            async with database.transaction() as session:
                box = await boxes.get(session, box_id)
                if box.ready_profile == box.profile and box.synced_rev == box.rev:
                    return
            await asyncio.sleep(0.1)


def _containers(bought: Bought, box_id: str) -> list[str]:
    """The box's pods, each with how often its container was started anew: the gateway's end is the container's."""
    pods = httpx.get(f"{api_server(bought)}/api/v1/namespaces/box-{box_id}/pods").raise_for_status().json()["items"]
    return [f"{pod['metadata']['uid']} {pod['status']['containerStatuses'][0]['restartCount']}" for pod in pods]


def _workspace(bought: Bought, box_id: str) -> dict[str, str]:
    [folder] = bought.stack.at.open_place.rglob(f"claims/box-{box_id}/data/workspace")
    return {name: (folder / name).read_text() for name in ("SOUL.md", "IDENTITY.md", "AGENTS.md")}


def test_the_purchase_took_the_box_that_stood_by_and_its_agent_answers(claimed: Claimed) -> None:
    assert (claimed.customer.box_id, claimed.verb) == (claimed.box_id, "claim")
    assert "Vocês entregam em casa?" in claimed.reply


def test_its_pod_is_the_one_that_stood_by(claimed: Claimed) -> None:
    assert (len(claimed.stood_by), claimed.serve) == (1, claimed.stood_by)


def test_its_agent_has_the_words_of_a_box_that_never_stood_by(bought: Bought, claimed: Claimed) -> None:
    assert _workspace(bought, claimed.box_id) == _workspace(bought, bought.customer.box_id)


def test_one_commit_gave_it_to_the_customer(bought: Bought, claimed: Claimed) -> None:
    [row] = query(bought, "SELECT customer_id FROM boxes WHERE id = $1", claimed.box_id)
    form = "--format=%(trailers:key=Action,valueonly,separator=%x2c) %(trailers:key=Customer,valueonly,separator=%x2c)"
    log = git(bought, "log", "--reverse", form, f"--grep=Box: {claimed.box_id}", "main")
    assert [line.split() for line in log.splitlines()] == [["prepare"], ["claim", row["customer_id"]]]


def test_the_customer_is_told_once(bought: Bought, claimed: Claimed) -> None:
    rows = query(bought, "SELECT kind, channel FROM notices WHERE box_id = $1 ORDER BY channel", claimed.box_id)
    assert [(row["kind"], row["channel"]) for row in rows] == [("agent_live", "email"), ("agent_live", "telegram")]
