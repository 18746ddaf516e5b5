"""Events that come often, late and in any order, to processes that are killed all the time: one box a purchase."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from controller.domain.plans import PlanName
from tests.faults import measures, shoppers
from tests.faults.loops import until
from tests.faults.shoppers import Purchase
from tests.faults.stands import Stand

VICTIMS = ("api", "api", "worker", "worker", "writer", "sweeper", "watcher", "notices", "notices", "meter")
ROUNDS = 10
EVENTS = 7
"""How many a purchase makes at least: four when it is paid, three when it is renewed."""


@pytest.mark.smoke
def test_each_purchase_makes_one_box_whatever_happens_to_its_events(
    stand: Stand, size: Callable[[int, int], int]
) -> None:
    caller = stand.mint()
    before, made = _boxes(stand), list[Purchase]()
    rounds = size(ROUNDS, 1)
    draw = random.Random(7)
    for number in range(rounds):
        shoppers.hold_events(stand)
        purchases = [_lively(stand) for _ in range(size(200, 3) // rounds)]
        shoppers.spread_events(stand, seed=number, most=5)
        for _ in range(max(1, size(100, 2) // rounds)):
            stand.talks.begin(caller)
            _kill(stand, draw.choice(VICTIMS))
        measures.recovered("storm of kills and repeated events", shoppers.settle(stand))
        made += purchases
        assert _boxes(stand) == before + len(made)
    assert min(_count_events(stand, made)) >= EVENTS


def _lively(stand: Stand) -> Purchase:
    """A purchase that is renewed and moves to another plan."""
    purchase = shoppers.buy(stand)
    shoppers.renew(stand, purchase)
    shoppers.resize(stand, purchase, PlanName.PRO)
    return purchase


def _count_events(stand: Stand, purchases: list[Purchase]) -> list[int]:
    """How many events each purchase had, told in the report by their types."""
    told = shoppers.events_of(stand, purchases)
    for events in told.values():
        measures.counted("storm, events", Counter(event.kind for event in events))
        for event in events:
            measures.counted("storm, posts of them", {event.kind: event.posts})
    return [len(events) for events in told.values()]


def _kill(stand: Stand, name: str) -> None:
    """Kill it in the middle of something: once it works again after the last time."""
    child = stand.children[name]
    until(lambda: child.busy(), f"{name} is up")
    child.kill()


def _boxes(stand: Stand) -> int:
    return int(stand.sql("SELECT count(*) FROM boxes")[0][0])
