"""What proxies that died left open, and customers whose plan is nearly used up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from controller.core import clock, ids
from controller.core.db import Database
from controller.domain import notices, reminders, usage
from controller.domain.measured import Measured
from controller.domain.notices import Notice
from controller.domain.plans import PLANS, PlanName
from controller.domain.reservations import Proxy, Reservation
from controller.domain.subscriptions import Subscription
from controller.domain.usage import UsageEvent, UsageMonthly
from controller.workers import metering
from tests.proxy.conftest import bought

PRO = PLANS[PlanName.PRO].tokens
PERIOD = datetime(2026, 11, 1, tzinfo=UTC)


def used(box_id: str, request_id: str, tokens: int, *, estimated: bool = False) -> Measured:
    return Measured(
        request_id=request_id, box_id=box_id, model="small", input_tokens=tokens, output_tokens=0,
        estimated=estimated, at=clock.now(), period_start=PERIOD,
    )  # fmt: skip


async def left_open(
    database: Database, *, delivering: bool, alive: bool, measured: Measured | None = None, box_id: str = ""
) -> str:
    """The id of an open call of 7 tokens so far."""
    row = Reservation(
        request_id=measured.request_id if measured else ids.new(), proxy_id=ids.new(), box_id=box_id,
        period_start=PERIOD, model="small", held_tokens=100, input_tokens=7, output_tokens=0, cost_microusd=0,
        delivering=delivering, measured=measured.model_dump(mode="json") if measured else None, at=clock.now(),
    )  # fmt: skip
    async with database.transaction() as session:
        until = clock.now() + timedelta(seconds=30 if alive else -30)
        session.add_all([row, Proxy(id=row.proxy_id, expires_at=until)])
    return row.request_id


async def rows(database: Database) -> list[tuple[int, bool]]:
    async with database.transaction() as session:
        return [(one.input_tokens, one.estimated) for one in await session.scalars(select(UsageEvent))]


async def count(database: Database, table: type[Reservation | Proxy | Notice]) -> int:
    async with database.transaction() as session:
        return int(await session.scalar(select(func.count()).select_from(table)) or 0)


@pytest.mark.parametrize(
    ("delivering", "alive", "found", "open_"),
    [(True, False, [(7, True)], 0), (False, False, [], 0), (True, True, [], 1), (False, True, [], 1)],
    ids=["died while answering", "died before", "answers", "asks"],
)
async def test_a_call_is_settled_if_its_proxy_died_while_answering(
    database: Database, delivering: bool, alive: bool, found: list[tuple[int, bool]], open_: int
) -> None:
    box_id, _ = await bought(database)
    await left_open(database, delivering=delivering, alive=alive, box_id=box_id)
    await metering.recover(database)
    assert (await rows(database), await count(database, Reservation)) == (found, open_)
    assert await count(database, Proxy) == open_


async def test_what_was_known_before_the_first_byte_is_settled_exactly(database: Database) -> None:
    box_id, _ = await bought(database)
    await left_open(database, delivering=True, alive=False, measured=used(box_id, ids.new(), 11), box_id=box_id)
    await metering.recover(database)
    assert await rows(database) == [(11, False)]


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True)])
async def test_the_providers_figures_win_over_an_estimate_whichever_comes_first(
    database: Database, first: bool, second: bool
) -> None:
    box_id, _ = await bought(database)
    request_id = ids.new()
    for estimated in (first, second):
        async with database.transaction() as session:
            await usage.record(session, [used(box_id, request_id, 7 if estimated else 11, estimated=estimated)])
    assert await rows(database) == [(11, False)]
    async with database.transaction() as session:
        assert await session.scalar(select(UsageMonthly.input_tokens)) == 11


async def warned(database: Database) -> int:
    async with database.transaction() as session:
        return len(await reminders.write_usage(session))


async def spent(database: Database, box_id: str, tokens: int) -> None:
    async with database.transaction() as session:
        await usage.record(session, [used(box_id, ids.new(), tokens)])


async def test_nine_tenths_are_told_once_a_period(database: Database) -> None:
    box_id, _ = await bought(database)
    await spent(database, box_id, PRO * 9 // 10 - 1)
    assert await warned(database) == 0
    await spent(database, box_id, 1)
    assert [await warned(database) for _ in range(3)] == [1, 0, 0]
    async with database.transaction() as session:
        notice = (await session.scalars(select(Notice))).one()
        assert (notice.kind, notice.channel, notice.state) == ("usage_90", "email", notices.NoticeState.WAITING)


async def test_a_new_period_is_told_of_its_own(database: Database) -> None:
    box_id, _ = await bought(database)
    await spent(database, box_id, PRO)
    assert await warned(database) == 1
    later = clock.now() + timedelta(days=1)
    async with database.transaction() as session:
        await session.execute(update(Subscription).values(period_start=later))
        await usage.record(session, [used(box_id, ids.new(), PRO).model_copy(update={"period_start": later})])
    assert await warned(database) == 1
