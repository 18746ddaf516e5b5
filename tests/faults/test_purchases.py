"""Events that come often, late and in any order, to processes that are killed all the time: one box a purchase."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.faults import measures, shoppers
from tests.faults.loops import until
from tests.faults.stands import Stand

VICTIMS = ("api", "api", "worker", "worker", "writer", "sweeper", "watcher")
ROUNDS = 10


@pytest.mark.smoke
def test_each_purchase_makes_one_box_whatever_happens_to_its_events(
    stand: Stand, size: Callable[[int, int], int]
) -> None:
    before = _boxes(stand)
    rounds = size(ROUNDS, 1)
    draw = random.Random(7)
    for number in range(rounds):
        shoppers.hold_events(stand)
        purchases = [shoppers.buy(stand) for _ in range(size(200, 3) // rounds)]
        for purchase in purchases:
            shoppers.renew(stand, purchase)
        shoppers.spread_events(stand, seed=number, most=5)
        for _ in range(max(1, size(100, 2) // rounds)):
            _kill(stand, draw.choice(VICTIMS))
        measures.recovered("storm of kills and repeated events", shoppers.settle(stand))
        before += len(purchases)
        assert _boxes(stand) == before


def _kill(stand: Stand, name: str) -> None:
    """Kill it in the middle of something: once it works again after the last time."""
    child = stand.children[name]
    until(lambda: child.busy(), f"{name} is up")
    child.kill()


def _boxes(stand: Stand) -> int:
    return int(stand.sql("SELECT count(*) FROM boxes")[0][0])
