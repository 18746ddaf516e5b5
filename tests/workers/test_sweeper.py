"""What the sweeper does for one of its concerns while another is broken."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import redis.asyncio
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from controller.core import clock
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.domain import boxes, inbox, lifecycle
from controller.domain.jobs import Job
from controller.domain.lifecycle import LifecycleSettings, Why
from controller.domain.standbys import StandbySettings
from controller.workers import sweeper
from tests import factories
from tests.proxy.conftest import bought
from tests.workers.test_health import shown


async def end_badly(database: Database) -> None:
    """A box whose retention is over and cannot be ended: the rev of its next job is taken."""
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        box = await boxes.get(session, box_id, lock=True)
        await lifecycle.condemn(session, box, Why("test"))
        box.condemned_at = clock.now() - timedelta(days=30)
        session.add(Job(box_id=box_id, verb="resize", rev=box.rev + 1, fields={}, actor="test"))
        await session.flush()
        await session.execute(update(Job).values(state="done"))


async def test_events_are_rung_for_although_a_retention_cannot_be_ended(
    database: Database, queue: QueueSettings
) -> None:
    await end_badly(database)
    async with database.transaction() as session:
        await inbox.put(session, "stripe", "evt_1", "invoice.paid", {})
    before = shown("sweeper_rings_total", kind="event") or 0
    with pytest.raises(IntegrityError):
        await sweeper.sweep(database, Doorbell(queue), LifecycleSettings())
    assert (shown("sweeper_rings_total", kind="event") or 0) - before == 1


async def test_the_pool_is_kept_once_whoever_sweeps_and_the_writer_is_rung_for(
    database: Database, queue: QueueSettings
) -> None:
    bell, pool = Doorbell(queue), sweeper.Pool(factories.mint(), StandbySettings(standby_pro=1))
    await asyncio.gather(*(sweeper.keep_standbys(database, bell, pool) for _ in range(2)))
    async with database.transaction() as session:
        [job] = await session.scalars(select(Job))
    assert (job.verb, job.actor) == ("prepare", "system:standby")
    async with redis.asyncio.Redis.from_url(queue.queue_redis_url.get_secret_value()) as waiting:
        assert await waiting.llen("oc:gitops") == 1
