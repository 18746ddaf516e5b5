"""A box's row lock keeps out who would change it, and nobody else."""

from __future__ import annotations

import pytest

from controller.core import clock, db, ids
from controller.core.db import Database, DatabaseAway
from controller.domain import boxes, usage
from controller.domain.measured import Measured
from tests.core.test_db import WAIT
from tests.proxy.conftest import bought


async def test_usage_is_stored_while_its_box_is_being_changed(database: Database) -> None:
    box_id, _ = await bought(database)
    one = Measured(
        request_id=ids.new(), box_id=box_id, model="small", input_tokens=1, output_tokens=1, at=clock.now()
    )  # fmt: skip
    async with database.transaction() as changing:
        await boxes.get(changing, box_id, lock=True)
        async with database.transaction() as session:
            await db.lock(session, "any", WAIT)
            assert await usage.record(session, [one]) == 1


async def test_a_box_is_changed_by_one_at_a_time(database: Database) -> None:
    box_id, _ = await bought(database)
    async with database.transaction() as changing:
        await boxes.get(changing, box_id, lock=True)
        with pytest.raises(DatabaseAway):  # noqa: PT012, the error comes when the block ends
            async with database.transaction() as session:
                await db.lock(session, "any", WAIT)
                await boxes.get(session, box_id, lock=True)
