"""A change of a running box reaches Synced, Healthy and Succeeded with nothing more from outside than its commit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.cluster.running import Cluster, alive, until

SLOW = {"stop": 1.5, "boot": 2.0}
CASES: dict[str, dict[str, Any]] = {
    "an ordinary gateway": {},
    "one that stops and boots slowly": {**SLOW},
    "one that crashes once during its boot": {**SLOW, "mode": "crash-once"},
    "one that must be killed at the end of its grace": {"mode": "stubborn", "grace": 1},
    "one that is slower than its deadline": {"boot": 3.0, "deadline": 1},
}


@pytest.mark.parametrize("gateway", CASES.values(), ids=CASES.keys())
def test_a_change_settles_by_itself(cluster: Cluster, gateway: dict[str, Any]) -> None:
    box_id = cluster.running(note="one", **gateway)
    before = cluster.about(box_id)["pid"]
    cluster.commit(box_id, rev=2, note="two", **gateway)
    until(lambda: cluster.settled(box_id, 2))
    assert not alive(before)
    assert cluster.about(box_id)["env"]["NOTE"] == "two"


def test_changes_that_come_while_the_last_one_is_under_way_settle_at_the_newest(cluster: Cluster) -> None:
    box_id = cluster.running(note="one", **SLOW)
    for rev, note in ((2, "two"), (3, "one"), (4, "four")):
        cluster.commit(box_id, rev=rev, note=note, **SLOW)
        until(lambda rev=rev: cluster.annotations(box_id)["openclaw.cloud/rev"] == str(rev))  # type: ignore[misc]
    until(lambda: cluster.settled(box_id, 4))
    assert cluster.about(box_id)["env"]["NOTE"] == "four"


def test_a_commit_whose_refresh_came_during_another_reconcile_is_not_left_behind(cluster: Cluster) -> None:
    box_id = cluster.running(state="suspended")
    for rev in range(2, 8):
        cluster.commit(box_id, rev=rev, state="suspended")
    until(lambda: cluster.settled(box_id, 7))


def test_a_change_settles_though_the_cluster_is_killed_on_the_way(own_cluster: Cluster) -> None:
    box_id = own_cluster.running(note="one", **SLOW)
    own_cluster.commit(box_id, rev=2, note="two", **SLOW)
    until(lambda: own_cluster.annotations(box_id)["openclaw.cloud/rev"] == "2")
    own_cluster.kill()
    own_cluster.start()
    until(lambda: own_cluster.settled(box_id, 2))
    assert own_cluster.about(box_id)["env"]["NOTE"] == "two"
