"""The pool has as many fit standbys as are wanted, whoever looks and however often, and no other box is touched."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.db import Database
from controller.core.errors import Permanent
from controller.domain import boxes, caps, jobs, lifecycle, retirements, rolling, rollouts
from controller.domain import standbys as pool
from controller.domain.boxes import Box
from controller.domain.caps import CapSettings
from controller.domain.jobs import Job
from controller.domain.lifecycle import LifecycleSettings, Mint, Why
from controller.domain.plans import PlanName
from controller.domain.releases import Rollout
from controller.domain.standbys import StandbySettings
from tests import standbys
from tests.domain import fleets
from tests.domain.fleets import NEW, OLD
from tests.domain.test_claims import buy

TWO = StandbySettings(standby_pro=2)
OFF = StandbySettings()
LATE = timedelta(minutes=16)


async def states(session: AsyncSession) -> Counter[str]:
    return Counter(await session.scalars(select(Box.state)))


async def kept(session: AsyncSession, mint: Mint, settings: StandbySettings) -> list[str]:
    return sorted(job.verb for job in (await pool.keep(session, mint, settings)).jobs)


def test_the_pool_is_off_unless_it_is_asked_for() -> None:
    assert [OFF.wanted(plan) for plan in PlanName] == [0, 0, 0]


async def test_it_is_filled_by_plan_and_once(session: AsyncSession, mint: Mint) -> None:
    settings = StandbySettings(standby_starter=1, standby_team=2)
    assert await kept(session, mint, settings) == ["prepare"] * 3
    assert await kept(session, mint, settings) == []
    assert Counter(await session.scalars(select(Box.plan))) == {"starter": 1, "team": 2}


async def test_a_standby_has_tokens_of_its_own_and_neither_owner_nor_words(session: AsyncSession, mint: Mint) -> None:
    box = await standbys.made(session, mint)
    assert (box.customer_id, box.state, box.telegram_users, box.niche) == (None, "standby", [], "general")
    assert box.secret_versions == {"agent": 1, "proxy": 1, "telegram": 1}


async def test_many_are_made_in_several_looks(session: AsyncSession, mint: Mint) -> None:
    settings = StandbySettings(standby_pro=12)
    assert [len((await pool.keep(session, mint, settings)).jobs) for _ in range(3)] == [10, 2, 0]


async def test_two_keepers_at_once_fill_it_once(database: Database, mint: Mint) -> None:
    async def keep() -> None:
        async with database.transaction() as session:
            await pool.keep(session, mint, TWO)

    await asyncio.gather(*(keep() for _ in range(3)))
    async with database.transaction() as session:
        assert await states(session) == {"standby": 2}


async def test_a_claimed_one_has_a_successor(session: AsyncSession, mint: Mint) -> None:
    for _ in range(2):
        await standbys.ready(session, mint)
    await buy(session, mint)
    assert await kept(session, mint, TWO) == ["prepare"]
    assert await states(session) == {"standby": 2, "active": 1}


async def test_a_keeper_neither_waits_for_a_purchase_nor_ends_what_it_takes(database: Database, mint: Mint) -> None:
    async with database.transaction() as session:
        await standbys.ready(session, mint)
    async with database.transaction() as buying, database.transaction() as keeping:
        await buy(buying, mint)
        assert await kept(keeping, mint, OFF) == []


async def test_with_fewer_wanted_those_go_that_do_not_serve_yet(session: AsyncSession, mint: Mint) -> None:
    booting = await standbys.made(session, mint)
    ready = await standbys.ready(session, mint)
    assert await kept(session, mint, StandbySettings(standby_pro=1)) == ["destroy"]
    assert (booting.state, ready.state) == ("condemned", "standby")


async def test_zero_removes_them_all_down_to_the_volume(session: AsyncSession, mint: Mint) -> None:
    box = await standbys.ready(session, mint)
    await kept(session, mint, OFF)
    for _ in range(3):
        await standbys.serve(session, box)
        await lifecycle.end_retention(session, LifecycleSettings(retention=timedelta(days=7)))
    assert await standbys.verbs(session, box.id) == ["prepare", "destroy", "approve", "erase"]
    assert box.state == "destroyed"


@pytest.mark.parametrize(
    "changed", [{"release": "2026.10.1"}, {"volume_gib": 99}, {"overrides": {"cpu_limit_milli": 99}}], ids=str
)
async def test_one_that_no_purchase_could_take_is_replaced(
    session: AsyncSession, mint: Mint, changed: dict[str, Any]
) -> None:
    box = await standbys.ready(session, mint)
    for name, value in changed.items():
        setattr(box, name, value)
    assert await kept(session, mint, StandbySettings(standby_pro=1)) == ["destroy", "prepare"]
    assert box.state == "condemned"


async def committed(session: AsyncSession, mint: Mint) -> Job:
    [job] = await jobs.open_of(session, (await standbys.made(session, mint)).id)
    jobs.committed(job, "a" * 40)
    return job


async def test_one_that_does_not_get_ready_in_time_is_replaced(session: AsyncSession, mint: Mint) -> None:
    await committed(session, mint)
    one = StandbySettings(standby_pro=1)
    assert await kept(session, mint, one) == []
    with clock.frozen(clock.now() + LATE):
        assert await kept(session, mint, one) == ["destroy", "prepare"]


@pytest.mark.parametrize("failed", [False, True])
async def test_one_that_git_does_not_have_waits_with_it(session: AsyncSession, mint: Mint, failed: bool) -> None:
    box = await standbys.made(session, mint)
    if failed:
        [job] = await jobs.open_of(session, box.id)
        jobs.failed(job, Permanent("no"))
    with clock.frozen(clock.now() + LATE):
        assert await kept(session, mint, StandbySettings(standby_pro=1)) == []


async def test_their_endings_use_up_nothing_of_what_customers_cancellations_may(
    session: AsyncSession, mint: Mint
) -> None:
    for _ in range(3):
        await standbys.ready(session, mint)
    await kept(session, mint, OFF)
    owned = await boxes.get(session, (await buy(session, mint)).box_id)
    await standbys.serve(session, owned)
    await lifecycle.condemn(session, owned, Why("stripe"))
    claimed = await caps.claim(session, CapSettings(cap_endings_a_batch=1, cap_endings_an_hour=1))
    assert ([job.verb for job in claimed.due], claimed.parked) == (["destroy"] * 4, [])


@pytest.mark.parametrize("held", [None, rollouts.pause, rollouts.abort])
async def test_while_a_rollout_is_not_over_none_is_replaced_for_its_release(
    session: AsyncSession, mint: Mint, held: Callable[[AsyncSession, str], Awaitable[Rollout]] | None
) -> None:
    for _ in range(2):
        await standbys.ready(session, mint)
    rollout = await fleets.begun(session)
    if held is not None:
        await held(session, rollout.id)
    assert Counter(await session.scalars(select(Box.release))) == {OLD: 1, NEW: 1}
    assert await kept(session, mint, TWO) == []


async def test_one_that_the_release_breaks_is_the_rollouts_failure_and_is_replaced_after_it(
    session: AsyncSession, mint: Mint
) -> None:
    box = await standbys.ready(session, mint)
    rollout, one = await fleets.begun(session), StandbySettings(standby_pro=1)
    await fleets.committed(session, box)
    with clock.frozen(clock.now() + LATE):
        assert await kept(session, mint, one) == []
        await rolling.step(session)
        assert (rollout.state, rollout.reason is not None and box.id in rollout.reason) == ("stopped", True)
        rollout.state = "aborted"
        assert await kept(session, mint, one) == ["destroy", "prepare"]


async def test_a_rollout_takes_the_pool_along(session: AsyncSession, mint: Mint) -> None:
    pair = [await standbys.ready(session, mint) for _ in range(2)]
    await fleets.finished(session, await fleets.begun(session), *pair)
    assert (await fleets.on(session), await kept(session, mint, TWO)) == ({box.id for box in pair}, [])
    assert await kept(session, mint, StandbySettings(standby_pro=3)) == ["prepare"]
    assert set(await session.scalars(select(Box.release))) == {NEW}


async def test_one_that_fell_ill_has_its_time_to_recover(session: AsyncSession, mint: Mint) -> None:
    box, one = await standbys.ready(session, mint), StandbySettings(standby_pro=1)
    with clock.frozen(clock.now() + timedelta(days=1)):
        await fleets.ill(session, box)
        assert await kept(session, mint, one) == []
    with clock.frozen(clock.now() + timedelta(days=1) + LATE):
        assert await kept(session, mint, one) == ["destroy", "prepare"]


async def test_nothing_of_its_end_uses_up_what_customers_retirements_may(session: AsyncSession, mint: Mint) -> None:
    for _ in range(3):
        await standbys.ready(session, mint)
    await kept(session, mint, OFF)
    for _ in range(3):
        for box in await session.scalars(select(Box)):
            await standbys.serve(session, box)
        await lifecycle.end_retention(session, LifecycleSettings())
    assert len(await retirements.raise_due(session, timedelta(0))) == 3
    claimed = await caps.claim(session, CapSettings(cap_retirements_a_batch=0, cap_retirements_an_hour=0))
    assert ([job.verb for job in claimed.due], claimed.parked) == (["retire"] * 3, [])


async def test_boxes_of_customers_and_of_other_cells_are_none_of_its_business(
    session: AsyncSession, mint: Mint
) -> None:
    await buy(session, mint)
    (await standbys.ready(session, mint)).cell = "elsewhere"
    assert await kept(session, mint, OFF) == []


async def test_what_a_look_ends_is_not_ready_after_it(session: AsyncSession, mint: Mint) -> None:
    await standbys.ready(session, mint)
    assert (await pool.keep(session, mint, TWO)).ready[PlanName.PRO] == 1
    assert (await pool.keep(session, mint, StandbySettings())).ready[PlanName.PRO] == 0
