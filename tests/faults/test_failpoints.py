"""Every process is killed once at every named point, each in turn, and nothing is lost or done twice."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from controller.domain.plans import PlanName
from tests.faults import measures, shoppers, test_ops
from tests.faults.loops import until
from tests.faults.stands import ROOT, Stand

POINTS = {
    "inbox.verified": "api", "inbox.stored": "api",
    "billing.taken": "worker", "billing.fetched": "worker", "billing.converged": "worker",
    "gitops.taken": "writer", "gitops.claimed": "writer", "gitops.read": "writer", "gitops.built": "writer",
    "gitops.before_push": "writer", "gitops.after_push": "writer", "gitops.recorded": "writer",
    "gitops.refreshed": "writer",
    "sweeper.retention_ended": "sweeper", "sweeper.rung": "sweeper", "sweeper.standbys_kept": "sweeper",
    "proxy.admitted": "proxy", "proxy.answered": "proxy", "proxy.durable": "proxy", "proxy.mid_stream": "proxy",
    "proxy.measured": "proxy", "proxy.handed_on": "proxy",
    "meter.taken": "meter", "meter.inserted": "meter",
    "notices.claimed": "notices", "notices.sending": "notices", "notices.delivered": "notices",
}  # fmt: skip
"""The points on an order's way and the process that reaches each."""


def points_in_the_source() -> set[str]:
    found = set()
    for folder in ("controller", "api", "proxy"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= set(re.findall(r'failpoints\.hit\("([a-z_.]+)"\)', path.read_text()))
    return found


@pytest.mark.smoke
def test_no_point_of_the_source_goes_without_a_scenario_on_the_stand() -> None:
    assert points_in_the_source() == set(POINTS) | set(test_ops.POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_a_process_killed_there_loses_nothing(stand: Stand, point: str) -> None:
    child = stand.children[POINTS[point]]
    starts = child.started
    stand.arm([point])
    purchase = shoppers.buy(stand)
    stand.talks.ask(until(lambda: stand.box_of(purchase.subscription), "the box is there"), 3)
    until(lambda: stand.hits() == [point] and child.started > starts, f"{point} is hit")
    measures.recovered(f"killed at {point}", shoppers.settle(stand))


def test_killed_at_all_points_at_once_purchases_come_through(stand: Stand, size: Callable[[int, int], int]) -> None:
    stand.arm(POINTS)
    purchases = [shoppers.buy(stand) for _ in range(size(10, 1))]
    shoppers.resize(stand, purchases[0], PlanName.PRO)
    stand.talks.ask(until(lambda: stand.box_of(purchases[0].subscription), "the box is there"), 8)
    # one after the other: what is announced was written by a writer that was started four times
    until(lambda: sorted(stand.let_go()) == sorted(POINTS), "every point is hit", 240)
    measures.recovered("killed at all points at once", shoppers.settle(stand))
