"""A box's memory on its way through an upgrade and back: what it knew before, what it learnt since, what is kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from controller.domain import lifecycle
from controller.domain.lifecycle import LifecycleSettings
from tests.gitops import remotes
from tests.journeys.rings import Fleet
from tests.journeys.test_rollouts import NEW, OLD, SECONDS, settled, state
from tests.proxy.waiting import until

NOW = LifecycleSettings(retention=timedelta(0))


async def remembering(fleet: Fleet) -> str:
    """A box that knows Ana from before its upgrade, and Bea from after it."""
    box_id = await fleet.box(0)
    await settled(fleet, OLD, box_id)
    fleet.memory(box_id).write_text("Ana")
    fleet.publish(NEW)
    rollout = await fleet.ask("POST", "", release=NEW, soak=0)
    await until(state(fleet, rollout["id"], "completed"), SECONDS)
    await settled(fleet, NEW, box_id)
    fleet.memory(box_id).write_text("Ana, Bea")
    return box_id


async def ordered(fleet: Fleet, box_id: str, verb: str) -> None:
    """Return once the API has taken an order; it refuses what the cluster has not followed far enough for."""

    async def taken() -> bool:
        order = {"reason": "it forgot its customers"}
        return (await fleet.house.admin("POST", f"/admin/boxes/{box_id}/{verb}", json=order)).status_code == 202

    await until(taken, SECONDS)


async def left(fleet: Fleet, box_id: str, *names: str) -> None:
    """Return once these volumes of the box are in the cluster, and no others."""

    async def gone() -> bool:
        return fleet.volumes(box_id) == list(names)

    await until(gone, SECONDS)


async def test_a_restored_box_knows_what_it_knew_before_its_upgrade_and_then_gives_the_rest_up(fleet: Fleet) -> None:
    box_id = await remembering(fleet)
    await ordered(fleet, box_id, "restore")
    await settled(fleet, OLD, box_id)
    assert (fleet.memory(box_id).read_text(), fleet.volumes(box_id)) == ("Ana", ["data", "data-3"])
    fleet.memory(box_id).write_text("Ana, Carla")
    await ordered(fleet, box_id, "discard")
    await left(fleet, box_id, "data-3")
    await settled(fleet, OLD, box_id)
    assert fleet.memory(box_id).read_text() == "Ana, Carla"


async def test_a_revert_of_a_restore_goes_back_to_the_former_memory_and_loses_neither(
    fleet: Fleet, tmp_path: Path
) -> None:
    box_id = await remembering(fleet)
    await ordered(fleet, box_id, "restore")
    await settled(fleet, OLD, box_id)
    restored = fleet.memory(box_id)
    clone = tmp_path / "theirs"
    remotes.git(tmp_path, "clone", "--quiet", str(fleet.remote), str(clone))
    remotes.git(clone, "revert", "--no-edit", "HEAD")
    remotes.git(clone, "push", "--quiet")
    await settled(fleet, NEW, box_id)
    assert (fleet.memory(box_id).read_text(), restored.read_text()) == ("Ana, Bea", "Ana")
    assert fleet.volumes(box_id) == ["data", "data-3"]


async def test_a_restored_box_that_ends_takes_both_memories_along(fleet: Fleet) -> None:
    box_id = await remembering(fleet)
    await ordered(fleet, box_id, "restore")
    await settled(fleet, OLD, box_id)
    await fleet.house.admin("POST", f"/admin/boxes/{box_id}/destroy")

    async def ended() -> bool:
        async with fleet.house.database.transaction() as session:
            await lifecycle.end_retention(session, NOW)
        return fleet.volumes(box_id) == []

    await until(ended, SECONDS)
