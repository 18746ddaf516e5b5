"""How far Stripe's list is read, and how much at a time."""

from __future__ import annotations

from datetime import timedelta

from controller.core import clock
from controller.core.db import Database
from controller.domain import catch_up
from controller.domain.catch_up import LISTED_FOR, OVERLAP, SETTLED, WINDOW

EVERY = timedelta(minutes=5)


async def test_the_first_reading_begins_with_the_oldest_that_stripe_still_lists(database: Database) -> None:
    now = clock.now()
    with clock.frozen(now):
        async with database.transaction() as session:
            assert await catch_up.is_due(session, "stripe", EVERY)
            first = await catch_up.window(session, "stripe")
    assert (first.start, first.end, first.last) == (now - LISTED_FOR - OVERLAP, now - LISTED_FOR + WINDOW, False)


async def test_windows_join_and_the_last_leaves_what_is_still_being_delivered(database: Database) -> None:
    now = clock.now()
    with clock.frozen(now):
        reached = now - LISTED_FOR
        async with database.transaction() as session:
            while not (window := await catch_up.window(session, "stripe")).last:
                assert window.start == reached - OVERLAP
                reached = window.end
                await catch_up.reach(session, "stripe", reached)
            await catch_up.reach(session, "stripe", window.end)
            assert window.end == now - SETTLED
            assert not await catch_up.is_due(session, "stripe", EVERY)
    with clock.frozen(now + EVERY):
        async with database.transaction() as session:
            assert await catch_up.is_due(session, "stripe", EVERY)


async def test_a_slower_reader_takes_nothing_back(database: Database) -> None:
    now = clock.now()
    with clock.frozen(now):
        async with database.transaction() as session:
            await catch_up.reach(session, "stripe", now)
            await catch_up.reach(session, "stripe", now - timedelta(days=2))
            assert not await catch_up.is_due(session, "stripe", EVERY)
