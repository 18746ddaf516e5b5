"""A period's sums are those of its rows, whoever stored them and when."""

from __future__ import annotations

import asyncio

from sqlalchemy import select

from controller.core import clock, ids
from controller.core.db import Database
from controller.domain import usage
from controller.domain.measured import Measured
from controller.domain.usage import UsageMonthly
from tests.proxy.conftest import bought
from tests.proxy.waiting import until
from tests.waits import blocked


def measured(box_id: str) -> Measured:
    return Measured(
        request_id=ids.new(), box_id=box_id, model="small", input_tokens=10, output_tokens=1, at=clock.now()
    )  # fmt: skip


async def test_two_meters_at_once_lose_nothing_of_a_boxs_sum(database: Database) -> None:
    box_id, _ = await bought(database)

    async def second() -> None:
        async with database.transaction() as session:
            await usage.record(session, [measured(box_id)])

    async with database.transaction() as session:
        await usage.record(session, [measured(box_id)])
        waiting = asyncio.create_task(second())
        assert await until(lambda: blocked(database))
    await waiting
    async with database.transaction() as session:
        row = (await session.scalars(select(UsageMonthly))).one()
    assert (row.requests, row.input_tokens, row.output_tokens) == (2, 20, 2)


async def test_a_batch_of_several_boxes_sums_each(database: Database) -> None:
    first, second = [(await bought(database))[0] for _ in range(2)]
    async with database.transaction() as session:
        assert await usage.record(session, [measured(box) for box in (first, second, first)]) == 3
        rows = await session.scalars(select(UsageMonthly))
        assert {row.box_id: row.requests for row in rows} == {first: 2, second: 1}
