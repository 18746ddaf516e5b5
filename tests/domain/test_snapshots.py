"""Which snapshot of its volume a box keeps when its release changes."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from controller.domain import lifecycle
from controller.domain.lifecycle import Why
from tests.domain import fleets
from tests.domain.fleets import NEW, OLD

LATER = "2026.12.2"
WHY = Why("rollout:admin")


async def test_an_upgrade_asks_for_one_of_what_the_former_release_left(session: AsyncSession) -> None:
    box = await fleets.box(session)
    job = await lifecycle.upgrade(session, box, NEW, WHY)
    assert job is not None
    assert job.fields == {"rev": 2, "release": NEW, "snapshot": {"release": OLD, "rev": 2}}
    assert box.snapshot == {"release": OLD, "rev": 2}


@pytest.mark.parametrize(
    ("way", "kept"),
    [
        ((NEW, OLD), {"release": OLD, "rev": 2}),
        ((NEW, LATER), {"release": NEW, "rev": 3}),
        ((NEW, OLD, NEW), {"release": OLD, "rev": 4}),
        ((NEW, LATER, OLD), {"release": LATER, "rev": 4}),
    ],
    ids=["back again", "further", "there once more", "back by two"],
)
async def test_a_return_keeps_the_data_to_go_back_to_and_any_other_change_takes_it_anew(
    session: AsyncSession, way: tuple[str, ...], kept: dict[str, object]
) -> None:
    box = await fleets.box(session)
    for release in way:
        await lifecycle.upgrade(session, box, release, WHY)
    assert box.snapshot == kept


async def test_a_box_whose_gateway_never_reported_waits_for_no_snapshot(session: AsyncSession) -> None:
    box = await fleets.box(session)
    box.ready_release = None
    job = await lifecycle.upgrade(session, box, NEW, WHY)
    assert job is not None
    assert (box.snapshot, job.fields) == (None, {"rev": 2, "release": NEW})


async def test_what_leaves_the_release_alone_leaves_the_snapshot_alone(session: AsyncSession) -> None:
    box = await fleets.box(session)
    await lifecycle.upgrade(session, box, NEW, WHY)
    job = await lifecycle.suspend(session, box, Why("admin"))
    assert job is not None
    assert (box.snapshot, "snapshot" in job.fields) == ({"release": OLD, "rev": 2}, False)
