"""A box's data goes back to its snapshot, when that is there and nothing is lost, and what it left is given up last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.errors import Conflict, Invalid
from controller.domain import jobs, lifecycle, rejections, releases, restores, retries, sightings
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Mint, Why
from controller.domain.releases import RolloutState
from controller.domain.sightings import Look
from tests import standbys
from tests.domain import fleets
from tests.domain.fleets import NEW, OLD

LATER = "2026.12.2"
ADMIN = Why("admin", "by hand")
TAKEN = {"release": OLD, "rev": 2}
AFTER = {"used": {"rev": 3, "snapshot": TAKEN}, "kept": {"rev": 0}}
CALM = Look("", 0, "Synced", "Healthy", "Succeeded", "", None, 9, held=False)


async def seen(session: AsyncSession, box: Box, **changed: Any) -> None:
    """The cluster shows the box's newest rev, and the snapshot that the box is to have."""
    name = restores.name(box.snapshot["release"], box.snapshot["rev"]) if box.snapshot else None
    await sightings.record(session, replace(CALM, box_id=box.id, rev=box.rev, snapshot=name, **changed))
    await session.flush()


async def well(session: AsyncSession, box: Box) -> None:
    await fleets.settle(session, box)
    await seen(session, box)


async def upgraded(session: AsyncSession, release: str = NEW) -> Box:
    """A box that runs well on the new release, with a snapshot of what the old one left."""
    box = await fleets.box(session)
    await lifecycle.upgrade(session, box, release, ADMIN)
    await well(session, box)
    return box


async def restore(session: AsyncSession, box: Box, reason: str = "it forgot its customers") -> Job:
    return await restores.restore(session, box, ADMIN, reason)


async def discard(session: AsyncSession, box: Box) -> Job:
    return await restores.discard(session, box, ADMIN, "all is well")


async def test_it_is_one_job_that_names_the_release_and_the_volumes_and_keeps_the_snapshot(
    session: AsyncSession,
) -> None:
    box = await upgraded(session)
    job = await restore(session, box)
    assert (job.verb, job.fields) == ("restore", {"rev": 3, "release": OLD, "volumes": AFTER})
    assert (job.actor, job.reason) == ("admin", "it forgot its customers")
    assert (box.release, box.volumes, box.snapshot) == (OLD, AFTER, TAKEN)


async def test_it_is_done_once_the_clusters_box_is_healthy_and_the_former_release_reports(
    session: AsyncSession,
) -> None:
    box = await upgraded(session)
    job = await restore(session, box)
    await fleets.applied(session, box)
    assert job.state == JobState.SYNCED
    await fleets.reports(session, box, OLD)
    assert job.state == JobState.DONE


async def test_a_box_that_has_the_release_again_already_gets_its_data_back(session: AsyncSession) -> None:
    box = await upgraded(session)
    await lifecycle.upgrade(session, box, OLD, ADMIN)
    await well(session, box)
    job = await restore(session, box)
    assert job.fields["volumes"]["used"] == {"rev": 4, "snapshot": TAKEN}


async def refusal(session: AsyncSession, box: Box) -> str:
    """Why a restore is refused, and nothing is changed."""
    before = (box.rev, box.release, box.volumes)
    with pytest.raises(Conflict) as caught:
        await restore(session, box)
    assert (box.rev, box.release, box.volumes) == before
    return caught.value.code


async def test_a_box_that_was_never_upgraded_has_none(session: AsyncSession) -> None:
    assert await refusal(session, await fleets.box(session)) == "snapshot_missing"


@pytest.mark.parametrize("state", ["suspended", "condemned", "destroyed"])
async def test_without_a_pod_no_volume_is_made(session: AsyncSession, state: str) -> None:
    box = await upgraded(session)
    box.state = state
    assert await refusal(session, box) == "box_not_active"


async def test_a_standby_has_no_data_to_go_back_to(session: AsyncSession, mint: Mint) -> None:
    assert await refusal(session, await standbys.ready(session, mint)) == "box_not_active"


@pytest.mark.parametrize("shown", [None, "data-2026.11.1-1"])
async def test_a_snapshot_that_the_cluster_does_not_have_is_nothing_to_go_back_to(
    session: AsyncSession, shown: str | None
) -> None:
    box = await upgraded(session)
    await sightings.record(session, replace(CALM, box_id=box.id, rev=box.rev, snapshot=shown))
    assert await refusal(session, box) == "snapshot_not_taken"


async def test_a_box_that_nobody_has_seen_is_not_restored(session: AsyncSession) -> None:
    box = await fleets.box(session)
    await lifecycle.upgrade(session, box, NEW, ADMIN)
    assert await refusal(session, box) == "snapshot_not_taken"


async def test_a_second_one_waits_for_the_first_and_then_for_the_kept_volume_to_be_given_up(
    session: AsyncSession,
) -> None:
    box = await upgraded(session)
    await restore(session, box)
    assert await refusal(session, box) == "restore_under_way"
    await well(session, box)
    assert await refusal(session, box) == "volume_kept"
    await discard(session, box)
    await well(session, box)
    job = await restore(session, box)
    assert job.fields["volumes"] == {
        "used": {"rev": 5, "snapshot": TAKEN}, "kept": {"rev": 3, "snapshot": TAKEN}, "given_up": 0
    }  # fmt: skip


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 501])
async def test_a_reason_that_cannot_be_kept_changes_nothing(session: AsyncSession, reason: str) -> None:
    box = await upgraded(session)
    with pytest.raises(Invalid, match="reason_malformed"):
        await restore(session, box, reason)
    assert (box.rev, box.volumes) == (2, None)


async def test_a_rollout_under_way_leaves_the_box_there_and_stops(session: AsyncSession) -> None:
    box = await fleets.box(session)
    rollout = await fleets.begun(session)
    await well(session, box)
    await restore(session, box)
    move = await fleets.moved(session, rollout, box)
    assert (move and move.state, rollout.state) == (releases.MoveState.LEFT, RolloutState.STOPPED)


async def test_giving_up_names_the_kept_volume_and_only_once_the_box_runs_on_the_other(session: AsyncSession) -> None:
    box = await upgraded(session)
    await restore(session, box)
    with pytest.raises(Conflict, match="restore_under_way"):
        await discard(session, box)
    await well(session, box)
    job = await discard(session, box)
    assert (job.verb, job.fields["volumes"], job.reason) == ("discard", {**AFTER_IT, "given_up": 0}, "all is well")


AFTER_IT = {"used": AFTER["used"]}


@pytest.mark.parametrize("changed", [{"sync": "OutOfSync"}, {"rev": 3}], ids=str)
async def test_giving_up_waits_until_the_cluster_has_applied_what_was_wanted_before(
    session: AsyncSession, changed: dict[str, Any]
) -> None:
    box = await upgraded(session)
    await restore(session, box)
    await well(session, box)
    await lifecycle.resize(session, box, "team", ADMIN)
    look = replace(CALM, box_id=box.id, rev=box.rev)
    await sightings.record(session, replace(look, **changed))
    with pytest.raises(Conflict, match="box_not_synced"):
        await discard(session, box)


async def test_what_was_never_restored_or_has_ended_gives_nothing_up(session: AsyncSession) -> None:
    box = await upgraded(session)
    with pytest.raises(Conflict, match="no_volume_kept"):
        await discard(session, box)
    await restore(session, box)
    await well(session, box)
    await lifecycle.condemn(session, box, ADMIN)
    await well(session, box)
    with pytest.raises(Conflict, match="box_ended"):
        await discard(session, box)


async def test_an_upgrade_while_the_volume_is_made_keeps_the_snapshot_that_it_is_made_from(
    session: AsyncSession,
) -> None:
    box = await upgraded(session)
    await restore(session, box)
    await lifecycle.upgrade(session, box, LATER, ADMIN)
    assert box.snapshot == TAKEN


async def test_an_upgrade_of_a_restored_box_takes_a_snapshot_of_the_volume_in_use(session: AsyncSession) -> None:
    box = await upgraded(session)
    await restore(session, box)
    await well(session, box)
    await lifecycle.upgrade(session, box, LATER, ADMIN)
    assert (box.snapshot, box.volumes) == ({"release": OLD, "rev": 4, "volume": 3}, AFTER)


async def test_one_that_could_not_be_written_can_be_tried_again_after_later_jobs(session: AsyncSession) -> None:
    box = await upgraded(session)
    job = await restore(session, box)
    await fleets.refused(session, box)
    await lifecycle.resize(session, box, "team", ADMIN)
    await fleets.committed(session, box)
    await retries.retry(session, job.id)
    assert (job.rev, job.fields) == (5, {"rev": 5, "release": OLD, "volumes": AFTER})
    box.synced_rev = 4
    assert await refusal(session, box) == "restore_under_way"


async def test_one_that_is_rejected_leaves_the_box_as_it_was(session: AsyncSession, mint: Mint) -> None:
    box = await upgraded(session)
    job = await restore(session, box)
    await fleets.refused(session, box)
    await rejections.reject(session, mint, job.id, ADMIN, "the wrong box")
    assert (box.release, box.volumes, job.state) == (NEW, None, JobState.REJECTED)
    assert [one.fields for one in await jobs.open_of(session, box.id)] == [{"rev": 4}]


async def test_a_new_rev_after_one_names_the_release_that_has_to_report(session: AsyncSession) -> None:
    box = await upgraded(session)
    await restore(session, box)
    await well(session, box)
    again = await retries.renew(session, box, ADMIN)
    assert (again.verb, again.fields) == ("restore", {"rev": 4, "release": OLD})
