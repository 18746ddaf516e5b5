"""A release on its way from ops' request through Git and Argo CD to every box, or no further than the first ring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.gitops import remotes
from tests.journeys.rings import Fleet
from tests.proxy.waiting import until

OLD, NEW = "2026.11.1", "2026.12.1"
SECONDS = 120
RINGS = (0, 1, 1, 3)


async def settled(fleet: Fleet, release: str, *box_ids: str) -> None:
    """Return once the boxes run on that release."""
    for box_id in box_ids:
        await until(lambda box_id=box_id: fleet.runs(box_id, release), SECONDS)  # type: ignore[misc]


def state(fleet: Fleet, rollout: str, wanted: str) -> Callable[[], Awaitable[bool]]:
    """Whether the rollout is in that state."""

    async def look() -> bool:
        return bool((await fleet.ask("GET", f"/{rollout}"))["state"] == wanted)

    return look


async def test_a_good_release_reaches_every_ring_in_order_and_new_boxes_after_it(fleet: Fleet) -> None:
    boxes = [await fleet.box(ring) for ring in RINGS]
    await settled(fleet, OLD, *boxes)
    fleet.publish(NEW)
    rollout = await fleet.ask("POST", "", release=NEW, soak=0)
    await until(state(fleet, rollout["id"], "completed"), SECONDS)
    await settled(fleet, NEW, *boxes)
    assert [fleet.kept(box_id) for box_id in boxes] == [{f"data-{OLD}-2": OLD}] * 4
    order = fleet.upgraded()
    assert (order[0], {*order[1:3]}, order[3:]) == (boxes[0], {*boxes[1:3]}, [boxes[3]])
    assert [fleet.manifest(box_id).spec.release for box_id in boxes] == [NEW] * 4
    await settled(fleet, NEW, await fleet.box(2))
    assert (await fleet.ask("GET", ""))["fleet_release"] == NEW


@pytest.mark.parametrize("fault", ["no pod gets ready", "does not render"])
async def test_a_broken_release_stops_at_the_first_box_and_is_taken_back(fleet: Fleet, fault: str) -> None:
    first, *others = [await fleet.box(ring) for ring in RINGS]
    await settled(fleet, OLD, first, *others)
    fleet.publish(NEW, template='{{ fail "broken" }}' if fault == "does not render" else None)
    fleet.node.sick.add(NEW)
    rollout = await fleet.ask("POST", "", release=NEW, soak=0, patience=2)
    await until(state(fleet, rollout["id"], "stopped"), SECONDS)
    told = await fleet.ask("GET", f"/{rollout['id']}")
    assert (told["ring"], first in told["reason"], fleet.upgraded()) == (0, True, [first])
    assert [fleet.manifest(box_id).spec.rev for box_id in others] == [1] * 3
    await fleet.ask("POST", f"/{rollout['id']}/abort")
    await until(state(fleet, rollout["id"], "aborted"), SECONDS)
    await settled(fleet, OLD, first, *others)


async def test_a_revert_by_ops_is_a_roll_back_and_stops_it(fleet: Fleet, tmp_path: Path) -> None:
    first, second = [await fleet.box(ring) for ring in (0, 1)]
    await settled(fleet, OLD, first, second)
    fleet.publish(NEW)
    rollout = await fleet.ask("POST", "", release=NEW, soak=3600)
    await settled(fleet, NEW, first)
    clone = tmp_path / "theirs"
    remotes.git(tmp_path, "clone", "--quiet", str(fleet.remote), str(clone))
    shas = remotes.git(clone, "log", f"--grep=^Rollout: {rollout['id']}", "--format=%H").split()
    remotes.git(clone, "revert", "--no-edit", *shas)
    remotes.git(clone, "push", "--quiet")
    await settled(fleet, OLD, first)
    told = await fleet.ask("GET", f"/{rollout['id']}")
    assert (told["state"], first in told["reason"], fleet.upgraded()) == ("stopped", True, [first])
    assert fleet.kept(first) == {f"data-{OLD}-2": OLD}
