"""A purchase takes a standby that is ready, whole, once, and as if it had been the customer's from the start."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.db import Database
from controller.core.errors import Conflict, NotFound
from controller.domain import boxes, completion, jobs, lifecycle, pod_metrics, progress, vault
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.lifecycle import Mint, Why
from controller.domain.notices import Notice
from controller.domain.pod_metrics import Measurement
from controller.domain.tokens import ProxyToken
from tests import factories, standbys
from tests.domain import fleets
from tests.domain.fleets import NEW, OLD

WHY = Why("stripe", "evt_1")
OBSERVED = {"id", "customer_id", "created_at", "rev", "profile", "secret_versions", "synced_rev", "live_profile",
            "ready_at", "ready_profile", "ready_release"}  # fmt: skip


async def buy(session: AsyncSession, mint: Mint, **changed: Any) -> Job:
    draft = await factories.draft(session, mint, **changed)
    job = await lifecycle.converge(session, mint, factories.facts(draft.id), WHY)
    assert job is not None
    return job


async def test_a_purchase_claims_the_standby_that_has_waited_longest(session: AsyncSession, mint: Mint) -> None:
    first = await standbys.ready(session, mint)
    await standbys.ready(session, mint)
    job = await buy(session, mint)
    assert (job.box_id, job.verb, job.rev, first.state) == (first.id, "claim", 2, "active")
    assert job.fields == {
        "rev": 2, "state": "active", "ring": 2, "locale": "pt-BR", "niche": "pharmacy", "model": "default",
        "thinking": "low", "profile": 2, "secrets": {"agent": 1, "telegram": 1, "proxy": 2},
    }  # fmt: skip


async def test_a_claimed_box_is_what_a_new_one_would_be(session: AsyncSession, mint: Mint) -> None:
    cold = await boxes.get(session, (await buy(session, mint)).box_id)
    await standbys.ready(session, mint)
    warm = await boxes.get(session, (await buy(session, mint)).box_id)
    columns = set(Box.__table__.columns.keys()) - OBSERVED
    assert {name: getattr(warm, name) for name in columns} == {name: getattr(cold, name) for name in columns}


UNFIT = [
    {"plan": "starter"}, {"release": "2026.10.1"}, {"cell": "elsewhere"}, {"volume_gib": 50},
    {"overrides": {"memory_limit_mib": 4096}}, {"ready_at": None}, {"ready_profile": 0}, {"live_profile": 0},
    {"synced_rev": 0}, {"rev": 2}, {"profile": 2}, {"state": "condemned"},
    {"ill_since": datetime(2026, 11, 1, tzinfo=UTC)},
]  # fmt: skip


@pytest.mark.parametrize("changed", UNFIT, ids=str)
async def test_what_does_not_fit_or_is_not_ready_is_left_and_the_box_is_made_cold(
    session: AsyncSession, mint: Mint, changed: dict[str, Any]
) -> None:
    standby = await standbys.ready(session, mint)
    for name, value in changed.items():
        setattr(standby, name, value)
    await session.flush()
    job = await buy(session, mint)
    assert (job.verb, job.box_id == standby.id, standby.customer_id) == ("provision", False, None)


@pytest.mark.parametrize("standing", [True, False])
async def test_after_a_rollout_its_release_is_that_of_what_is_claimed_and_of_what_is_made(
    session: AsyncSession, mint: Mint, standing: bool
) -> None:
    if standing:
        await standbys.ready(session, mint)
    old = await standbys.ready(session, mint, "starter")
    await fleets.finished(session, await fleets.begun(session), *await session.scalars(select(Box)))
    job = await buy(session, mint)
    assert (await boxes.get(session, job.box_id)).release == old.release == NEW
    assert job.verb == ("claim" if standing else "provision")


async def test_none_is_taken_whose_former_release_is_what_is_ready(session: AsyncSession, mint: Mint) -> None:
    box = await standbys.ready(session, mint)
    await fleets.begun(session)
    await fleets.applied(session, box)
    assert (box.release, box.ready_release, box.synced_rev == box.rev) == (NEW, OLD, True)
    assert (await buy(session, mint)).verb == "provision"
    await fleets.reports(session, box, NEW)
    assert (await buy(session, mint)).box_id == box.id


async def test_nothing_of_the_time_before_opens_a_door_or_is_shown(session: AsyncSession, mint: Mint) -> None:
    standby = await standbys.ready(session, mint)
    await progress.add(session, standby.id, "committed")
    await pod_metrics.record(session, [Measurement(standby.id, clock.now(), 10, 10)])
    await buy(session, mint)
    tokens = {row.version: row.revoked_at for row in await session.scalars(select(ProxyToken))}
    assert (tokens[1] is None, tokens[2]) == (False, None)
    with pytest.raises(NotFound):
        await vault.get(session, mint.sealer, standby.id, vault.PROXY, 1, reader="test")
    assert [(one.seq, one.name) for one in await progress.since(session, standby.id)] == [(1, "paid")]
    assert await pod_metrics.since(session, standby.id, standby.created_at - timedelta(hours=1)) == []


async def test_two_purchases_at_once_take_two_boxes(database: Database, mint: Mint) -> None:
    async with database.transaction() as session:
        standby = await standbys.ready(session, mint)
    taken, both = [], asyncio.Barrier(2)

    async def purchase() -> None:
        async with database.transaction() as session:
            taken.append(await buy(session, mint))
            await both.wait()

    await asyncio.gather(purchase(), purchase())
    assert sorted(job.verb for job in taken) == ["claim", "provision"]
    assert {job.verb: job.box_id for job in taken}["claim"] == standby.id


async def test_a_claim_that_is_rolled_back_leaves_the_standby_as_it_was(database: Database, mint: Mint) -> None:
    async with database.transaction() as session:
        standby = await standbys.ready(session, mint)
    with contextlib.suppress(Conflict):
        async with database.transaction() as session:
            assert (await buy(session, mint)).verb == "claim"
            raise Conflict("afterwards")
    async with database.transaction() as session:
        assert (await buy(session, mint)).box_id == standby.id


async def test_a_claim_is_done_once_the_gateway_reports_the_customers_profile(
    session: AsyncSession, mint: Mint
) -> None:
    await standbys.ready(session, mint)
    job = await buy(session, mint)
    box = await boxes.get(session, job.box_id, lock=True)
    jobs.committed(job, "b" * 40)
    jobs.synced(job)
    assert (await completion.finish(session, box), job.state) == ([], "synced")
    told = await completion.report_ready(session, box.id, profile=2, gateway="1")
    assert (len(told), job.state) == (2, "done")
    assert await completion.report_ready(session, box.id, profile=2, gateway="1") == []
    assert {row.recipient for row in await session.scalars(select(Notice))} == {"7001", box.customer_id}


async def test_a_standby_that_got_ready_tells_nobody(session: AsyncSession, mint: Mint) -> None:
    box = await standbys.made(session, mint)
    [job] = await jobs.open_of(session, box.id)
    jobs.synced(job)
    assert await completion.report_ready(session, box.id, profile=1, gateway="1") == []
    assert job.state == "done"


@pytest.mark.parametrize("verb", ["suspend", "resize", "reactivate", "connect"])
async def test_nothing_is_done_to_a_standby_but_to_end_it(session: AsyncSession, mint: Mint, verb: str) -> None:
    box = await standbys.ready(session, mint)
    acts = {
        "suspend": lambda: lifecycle.suspend(session, box, WHY),
        "resize": lambda: lifecycle.resize(session, box, "team", WHY),
        "reactivate": lambda: lifecycle.reactivate(session, mint, box, WHY),
        "connect": lambda: lifecycle.connect(session, box, "linear", WHY),
    }
    with pytest.raises(Conflict, match="box_unowned"):
        await acts[verb]()
    assert await lifecycle.condemn(session, box, WHY) is not None


async def test_a_claimed_box_keeps_its_data_for_the_retention(session: AsyncSession, mint: Mint) -> None:
    await standbys.ready(session, mint)
    draft = await factories.draft(session, mint)
    facts = factories.facts(draft.id)
    job = await lifecycle.converge(session, mint, facts, WHY)
    assert job is not None
    box = await boxes.get(session, job.box_id)
    await lifecycle.converge(session, mint, replace(facts, status="canceled"), WHY)
    await standbys.serve(session, box)
    assert await lifecycle.end_retention(session, lifecycle.LifecycleSettings()) == []
    assert (box.state, box.condemned_at is not None and box.condemned_at <= clock.now()) == ("condemned", True)
