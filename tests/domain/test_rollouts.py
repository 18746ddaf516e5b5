"""A release goes through the rings in their order, one at a time, and no further than the first that is not well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.errors import CloudError, Conflict, Invalid, NotFound
from controller.domain import boxes, lifecycle, releases, rolling, rollouts
from controller.domain.lifecycle import Why
from controller.domain.rollouts import Pace, RingCount
from tests import factories
from tests.domain import fleets
from tests.domain.fleets import NEW, OLD, QUICK

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


async def test_rings_follow_one_another_until_the_release_is_the_fleets(session: AsyncSession) -> None:
    first, second, third = [await fleets.box(session, ring) for ring in (0, 1, 4)]
    rollout = await fleets.begun(session)
    assert await fleets.on(session) == {first.id}
    await fleets.settle(session, first)
    await rolling.step(session)
    assert (await fleets.on(session), rollout.ring) == ({first.id, second.id}, 1)
    await fleets.finished(session, rollout, first, second, third)
    assert (rollout.state, await releases.of_the_fleet(session)) == ("completed", NEW)
    assert await fleets.on(session) == {first.id, second.id, third.id}


async def test_each_box_gets_one_job_at_the_next_rev_that_names_the_rollout(session: AsyncSession) -> None:
    box = await fleets.box(session)
    rollout = await fleets.begun(session)
    (job,) = await fleets.waiting(session, box)
    kept = {"release": OLD, "rev": 2}
    assert (job.verb, job.rev, job.fields) == ("upgrade", 2, {"rev": 2, "release": NEW, "snapshot": kept})
    assert (job.actor, job.cause) == ("rollout:admin", rollout.id)


async def test_a_step_that_runs_again_moves_no_box_twice(session: AsyncSession) -> None:
    box = await fleets.box(session)
    await fleets.begun(session)
    assert [(await rolling.step(session)).jobs for _ in range(3)] == [0, 0, 0]  # type: ignore[union-attr]
    assert await fleets.verbs(session, box) == ["provision", "upgrade"]


async def test_the_first_box_goes_alone_and_then_a_batch_at_a_time(session: AsyncSession) -> None:
    fleet = [await fleets.box(session) for _ in range(5)]
    await fleets.begun(session, Pace(soak=timedelta(0), batch=2))
    sizes = [len(await fleets.on(session))]
    for _ in range(3):
        for one in fleet:
            await fleets.settle(session, one)
        await rolling.step(session)
        sizes.append(len(await fleets.on(session)))
    assert sizes == [1, 3, 5, 5]


@pytest.mark.parametrize(
    ("state", "takes"),
    [("active", True), ("standby", True), ("suspended", True), ("condemned", False), ("destroyed", False)],
)
async def test_what_has_ended_stays_as_it_is(session: AsyncSession, state: str, takes: bool) -> None:
    box = await fleets.box(session, state=state)
    rollout = await fleets.begun(session)
    assert (box.release, rollout.state) == ((NEW, "running") if takes else (OLD, "completed"))


async def test_a_suspended_box_has_no_gateway_to_wait_for(session: AsyncSession) -> None:
    box = await fleets.box(session, state="suspended")
    rollout = await fleets.begun(session)
    await fleets.applied(session, box)
    await rolling.step(session)
    assert rollout.state == "completed"


@pytest.mark.parametrize("state", ["standby", "active"])
async def test_a_box_that_runs_is_healthy_only_once_the_new_releases_gateway_reports(
    session: AsyncSession, state: str
) -> None:
    box = await fleets.box(session, state=state)
    rollout = await fleets.begun(session)
    await fleets.applied(session, box)
    await fleets.reports(session, box, OLD)
    await rolling.step(session)
    assert (rollout.state, (await fleets.waiting(session, box))[0].state) == ("running", "synced")
    await fleets.reports(session, box, NEW)
    await rolling.step(session)
    assert (rollout.state, await fleets.waiting(session, box)) == ("completed", [])


async def test_the_next_ring_waits_until_this_one_was_well_for_the_soak(session: AsyncSession) -> None:
    first, second = [await fleets.box(session, ring) for ring in (0, 1)]
    with clock.frozen(NOON):
        await fleets.begun(session, Pace(soak=timedelta(minutes=10)))
        await fleets.settle(session, first)
        await rolling.step(session)
    with clock.frozen(NOON + timedelta(minutes=9)):
        await rolling.step(session)
        assert second.release == OLD
    with clock.frozen(NOON + timedelta(minutes=10)):
        await rolling.step(session)
        assert second.release == NEW


async def test_a_box_that_falls_ill_begins_the_soak_anew(session: AsyncSession) -> None:
    first, second = [await fleets.box(session, ring) for ring in (0, 1)]
    with clock.frozen(NOON):
        rollout = await fleets.begun(session, Pace(soak=timedelta(minutes=10)))
        await fleets.settle(session, first)
        await rolling.step(session)
        await fleets.ill(session, first)
    with clock.frozen(NOON + timedelta(minutes=10)):
        await rolling.step(session)
        await fleets.settle(session, first)
        await rolling.step(session)
    assert (second.release, rollout.whole_since) == (OLD, NOON + timedelta(minutes=10))


async def test_a_box_that_is_not_well_in_time_stops_it_at_its_ring(session: AsyncSession) -> None:
    first, second = [await fleets.box(session, ring) for ring in (0, 1)]
    with clock.frozen(NOON):
        rollout = await fleets.begun(session)
        await fleets.committed(session, first)
        await fleets.ill(session, first)
    with clock.frozen(NOON + timedelta(minutes=16)):
        await rolling.step(session)
    assert (rollout.state, second.release) == ("stopped", OLD)
    assert rollout.reason == (
        f"ring 0: 1 of 1 boxes failed and 0 may; box {first.id}: not healthy within 0:15:00: "
        "ComparisonError it does not render"
    )


async def test_a_job_that_git_does_not_take_yet_is_no_fault_of_the_release(session: AsyncSession) -> None:
    await fleets.box(session)
    with clock.frozen(NOON):
        rollout = await fleets.begun(session)
    with clock.frozen(NOON + timedelta(hours=5)):
        await rolling.step(session)
    assert rollout.state == "running"


@pytest.mark.parametrize("what", ["refused", "parked"])
async def test_a_job_that_a_human_has_to_look_at_stops_it(session: AsyncSession, what: str) -> None:
    box = await fleets.box(session)
    rollout = await fleets.begun(session)
    await (fleets.refused if what == "refused" else fleets.parked)(session, box)
    await rolling.step(session)
    assert (rollout.state, box.id in (rollout.reason or "")) == ("stopped", True)


async def test_a_crash_loop_is_seen_although_it_is_well_in_between(session: AsyncSession) -> None:
    box = await fleets.box(session)
    rollout = await fleets.begun(session, Pace(soak=timedelta(hours=1)))
    for _ in range(rolling.FALLS):
        await fleets.settle(session, box)
        await rolling.step(session)
        await fleets.ill(session, box)
        await rolling.step(session)
    assert rollout.state == "stopped"
    assert "fell ill 3 times" in (rollout.reason or "")


async def test_a_customers_own_change_long_after_is_no_failure(session: AsyncSession) -> None:
    box = await fleets.box(session)
    with clock.frozen(NOON):
        rollout = await fleets.begun(session, Pace(soak=timedelta(hours=1)))
        await fleets.settle(session, box)
        await rolling.step(session)
    with clock.frozen(NOON + timedelta(minutes=50)):
        await lifecycle.resize(session, box, "team", Why("stripe"))
        await fleets.committed(session, box)
        await fleets.ill(session, box, "sync OutOfSync")
        await rolling.step(session)
    assert (rollout.state, await rollouts.counts(session, rollout)) == ("running", [RingCount(2, under_way=1)])
    with clock.frozen(NOON + timedelta(minutes=66)):
        await rolling.step(session)
    assert rollout.state == "stopped"


@pytest.mark.parametrize(("percent", "state"), [(0, "stopped"), (49, "stopped"), (50, "completed")])
async def test_so_many_of_a_ring_may_fail(session: AsyncSession, percent: int, state: str) -> None:
    fleet = [await fleets.box(session) for _ in range(2)]
    rollout = await fleets.begun(session, Pace(soak=timedelta(0), failures_percent=percent))
    [bad] = [one for one in fleet if one.release == NEW]
    await fleets.refused(session, bad)
    [good] = [one for one in fleet if one.release == OLD]
    await fleets.finished(session, rollout, good)
    assert rollout.state == state


async def test_only_one_goes_on_at_a_time(session: AsyncSession) -> None:
    await fleets.box(session)
    first = await fleets.begun(session)
    with pytest.raises(Conflict) as refused:
        await rollouts.start(session, "2026.12.2", QUICK, "admin")
    assert (refused.value.code, refused.value.facts["rollout"]) == ("rollout_unfinished", first.id)


@pytest.mark.parametrize("release", ["", "2026.12", "v2026.12.1", "2026.12.1\n", "../2026.12.1", "٢٠٢٦.12.1"])
async def test_what_is_no_releases_name_starts_nothing(session: AsyncSession, release: str) -> None:
    with pytest.raises(Invalid):
        await rollouts.start(session, release, QUICK, "admin")
    assert await rollouts.newest(session) == []


async def test_a_paused_rollout_moves_nothing_until_it_is_resumed(session: AsyncSession) -> None:
    first, second = [await fleets.box(session, ring) for ring in (0, 1)]
    rollout = await fleets.begun(session)
    await rollouts.pause(session, rollout.id)
    await fleets.settle(session, first)
    await rolling.step(session)
    assert await rollouts.counts(session, rollout) == [RingCount(0, healthy=1), RingCount(1, waiting=1)]
    await rollouts.resume(session, rollout.id)
    await fleets.finished(session, rollout, first, second)
    assert rollout.state == "completed"


async def test_a_stopped_rollout_that_is_resumed_gives_its_boxes_their_time_again(session: AsyncSession) -> None:
    box = await fleets.box(session)
    with clock.frozen(NOON):
        rollout = await fleets.begun(session)
        await fleets.committed(session, box)
    with clock.frozen(NOON + timedelta(minutes=16)):
        await rolling.step(session)
        await rollouts.resume(session, rollout.id)
        await rolling.step(session)
        assert (rollout.state, rollout.reason) == ("running", None)
    with clock.frozen(NOON + timedelta(minutes=32)):
        await rolling.step(session)
        assert rollout.state == "stopped"


@pytest.mark.parametrize("verb", [rollouts.pause, rollouts.resume, rollouts.abort])
async def test_what_is_over_stays_so(session: AsyncSession, verb: object) -> None:
    done = await fleets.begun(session)
    assert done.state == "completed"
    for rollout_id, error in ((done.id, Conflict), ("0" * 26, NotFound)):
        with pytest.raises(CloudError) as refused:
            await verb(session, rollout_id)  # type: ignore[operator]
        assert isinstance(refused.value, error)


async def test_an_abort_brings_back_what_was_moved_and_leaves_the_rest(session: AsyncSession) -> None:
    first, second = [await fleets.box(session, ring) for ring in (0, 1)]
    rollout = await fleets.begun(session)
    await fleets.settle(session, first)
    await rollouts.abort(session, rollout.id)
    await fleets.finished(session, rollout, first, second)
    assert (rollout.state, await fleets.on(session, OLD)) == ("aborted", {first.id, second.id})
    assert [await fleets.verbs(session, one) for one in (first, second)] == [
        ["provision", "upgrade", "upgrade"],
        ["provision"],
    ]
    assert (await releases.of_the_fleet(session), rollout.reason) == (None, None)


async def test_an_abort_ends_although_a_box_is_not_well_and_names_it(session: AsyncSession) -> None:
    box = await fleets.box(session)
    with clock.frozen(NOON):
        rollout = await fleets.begun(session)
        await rollouts.abort(session, rollout.id)
        await rolling.step(session)
        await fleets.committed(session, box)
        await rolling.step(session)
        assert rollout.state == "aborting"
    with clock.frozen(NOON + timedelta(minutes=16)):
        await rolling.step(session)
    assert (rollout.state, rollout.reason) == (
        "aborted", f"1 boxes are not well on their former release: {box.id}",
    )  # fmt: skip


async def test_a_box_that_ends_meanwhile_holds_nothing_up(session: AsyncSession) -> None:
    box = await fleets.box(session)
    rollout = await fleets.begun(session)
    await lifecycle.condemn(session, box, Why("stripe"))
    await rolling.step(session)
    assert rollout.state == "completed"
    assert await rollouts.troubles(session, rollout) == [(box.id, "it is condemned")]


async def test_a_box_that_is_brought_back_takes_the_release_in_force(session: AsyncSession) -> None:
    box = await fleets.box(session)
    await lifecycle.condemn(session, box, Why("stripe"))
    await fleets.begun(session)
    await lifecycle.reactivate(session, factories.mint(), box, Why("admin"))
    assert (box.release, (await fleets.waiting(session, box))[-1].fields["release"]) == (NEW, NEW)


async def born(session: AsyncSession) -> str:
    """The release of a box that is bought now, in ring 2."""
    mint = factories.mint()
    draft = await factories.draft(session, mint)
    job = await lifecycle.converge(session, mint, factories.facts(draft.id), Why("stripe", "evt_2"))
    assert job is not None
    return (await boxes.get(session, job.box_id)).release


async def test_a_new_box_has_the_release_that_its_ring_has(session: AsyncSession) -> None:
    first, last = [await fleets.box(session, ring) for ring in (0, 2)]
    rollout = await fleets.begun(session)
    assert await born(session) == OLD
    await fleets.settle(session, first)
    await rolling.step(session)
    assert (rollout.ring, await born(session)) == (2, NEW)
    await rollouts.abort(session, rollout.id)
    assert await born(session) == OLD
    assert last.release == NEW


async def test_a_completed_rollout_outlasts_the_setting(session: AsyncSession) -> None:
    await fleets.begun(session)
    assert factories.mint().settings.box_release == OLD
    assert await born(session) == NEW


async def test_a_box_that_came_into_a_ring_too_late_is_moved_too(session: AsyncSession) -> None:
    first, second = [await fleets.box(session, ring) for ring in (0, 1)]
    rollout = await fleets.begun(session)
    await fleets.settle(session, first)
    await rolling.step(session)
    late = await fleets.box(session, 0)
    await fleets.finished(session, rollout, first, second, late)
    assert (rollout.state, late.release) == ("completed", NEW)
