"""A rejected job leaves the box as it was wanted before, with whatever that takes, or as later jobs say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.errors import Conflict, Invalid, NotFound, Permanent
from controller.domain import boxes, connections, jobs, lifecycle, rejections, retries, subscriptions
from controller.domain.boxes import Box
from controller.domain.jobs import ApprovalNeeded, Job, JobState
from controller.domain.lifecycle import LifecycleSettings, Mint, Why
from controller.domain.plans import PlanName
from controller.domain.tokens import AgentToken
from tests import factories, standbys

ADMIN = Why("admin", "by hand")
STRIPE = Why("stripe", "evt_2")
NOW = LifecycleSettings(retention=timedelta(0))


@pytest.fixture
async def box(session: AsyncSession, mint: Mint) -> Box:
    """A box that is in Git."""
    draft = await factories.draft(session, mint)
    job = await lifecycle.converge(session, mint, factories.facts(draft.id), STRIPE)
    assert job is not None
    close(job)
    return await boxes.get(session, job.box_id)


def close(job: Job) -> None:
    jobs.committed(job, "a" * 40)
    jobs.done(job)


async def held(session: AsyncSession, job: Job | None) -> Job:
    """The job, parked."""
    assert job is not None
    jobs.park(job, ApprovalNeeded("cap_reached"))
    await session.flush()
    return job


async def reject(session: AsyncSession, mint: Mint, job: Job) -> Job | None:
    return await rejections.reject(session, mint, job.id, ADMIN, "nobody left")


async def in_git(session: AsyncSession, box: Box) -> dict[str, object]:
    """What Git says once every job that waits has landed."""
    query = select(Job).where(Job.box_id == box.id, Job.state.not_in(["failed", "rejected"])).order_by(Job.rev)
    said: dict[str, object] = {}
    for job in await session.scalars(query):
        said |= job.fields
    return said


async def assert_written(session: AsyncSession, box: Box) -> None:
    """Git will say what the box is wanted to be, rev and all."""
    wanted = boxes.spec(box, await connections.in_manifest(session, box.id))
    assert {**await in_git(session, box), "deletion": box.deletion} == wanted


def assert_only_a_rev(made: Job | None, box: Box) -> None:
    assert made is not None
    assert (made.verb, made.fields, made.rev) == ("adopt", {"rev": box.rev}, box.rev)


async def test_a_standby_whose_end_is_rejected_stands_by_again_with_new_tokens(
    session: AsyncSession, mint: Mint
) -> None:
    box = await standbys.ready(session, mint)
    made = await reject(session, mint, await held(session, await lifecycle.condemn(session, box, ADMIN)))
    assert made is not None
    assert (box.state, box.customer_id, made.fields["secrets"]) == ("standby", None, box.secret_versions)
    await assert_written(session, box)


async def test_a_rejected_end_brings_the_box_back_with_new_tokens(session: AsyncSession, mint: Mint, box: Box) -> None:
    before = dict(box.secret_versions)
    made = await reject(session, mint, await held(session, await lifecycle.condemn(session, box, STRIPE)))
    assert made is not None
    assert (box.state, box.condemned_at, made.verb, made.rev, box.rev) == ("active", None, "reactivate", 3, 3)
    assert made.fields["secrets"] == box.secret_versions != before
    living = select(AgentToken).where(AgentToken.box_id == box.id, AgentToken.revoked_at.is_(None))
    assert (await session.scalars(living)).one().version == box.secret_versions["agent"]
    await assert_written(session, box)


async def test_a_rejected_return_leaves_the_box_on_the_release_that_it_had(
    session: AsyncSession, mint: Mint, box: Box
) -> None:
    box.ready_release = former = box.release
    ended = await lifecycle.condemn(session, box, STRIPE)
    assert ended is not None
    close(ended)
    current = Mint(mint.sealer, mint.pepper, mint.settings.model_copy(update={"box_release": "2026.12.1"}))
    job = await held(session, await lifecycle.reactivate(session, current, box, ADMIN))
    assert (box.release, box.snapshot) == ("2026.12.1", {"release": former, "rev": 3})
    await reject(session, current, job)
    assert (box.state, box.release, box.snapshot) == ("condemned", former, None)
    await assert_written(session, box)


async def test_a_rejected_suspension_leaves_the_box_running_and_git_gets_its_rev(
    session: AsyncSession, mint: Mint, box: Box
) -> None:
    job = await held(session, await lifecycle.suspend(session, box, STRIPE, lifecycle.PAYMENT))
    made = await reject(session, mint, job)
    assert (box.state, box.suspended_for, job.state) == ("active", [], JobState.REJECTED)
    assert job.error == "job_rejected (by=admin, reason=nobody left, held_for=cap_reached)"
    assert_only_a_rev(made, box)
    assert await jobs.claim(session) == [made]
    await assert_written(session, box)


async def test_a_box_begins_anew_once_git_has_the_rev_of_a_rejection(
    session: AsyncSession, mint: Mint, box: Box
) -> None:
    job = await held(session, await lifecycle.suspend(session, box, STRIPE, lifecycle.PAYMENT))
    made = await reject(session, mint, job)
    assert made is not None
    close(made)
    assert ((await retries.renew(session, box, ADMIN)).rev, job.rev, made.rev) == (4, 2, 3)


async def test_a_box_that_is_suspended_for_another_reason_too_stays_so(
    session: AsyncSession, mint: Mint, box: Box
) -> None:
    job = await held(session, await lifecycle.suspend(session, box, STRIPE, lifecycle.PAYMENT))
    assert await lifecycle.suspend(session, box, ADMIN) is None
    made = await reject(session, mint, job)
    assert made is not None
    assert (box.state, made.verb, made.fields["state"]) == ("suspended", "suspend", "suspended")
    await assert_written(session, box)


async def test_a_rejected_resize_stays_away_until_another_plan_is_paid_for(
    session: AsyncSession, mint: Mint, box: Box
) -> None:
    row = await subscriptions.of_box(session, box.id)
    assert row is not None
    assert row.stripe_id is not None
    facts = factories.facts(None, PlanName.TEAM, stripe_id=row.stripe_id)
    job = await held(session, await lifecycle.converge(session, mint, facts, STRIPE))
    assert_only_a_rev(await reject(session, mint, job), box)
    assert (box.plan, box.volume_gib) == ("pro", 10)
    assert await lifecycle.converge(session, mint, facts, STRIPE) is None
    await assert_written(session, box)


async def test_what_a_later_job_says_stands(session: AsyncSession, mint: Mint, box: Box) -> None:
    job = await held(session, await lifecycle.suspend(session, box, STRIPE, lifecycle.PAYMENT))
    later = await lifecycle.resize(session, box, "starter", ADMIN)
    lifted = await lifecycle.reactivate(session, mint, box, ADMIN, lifecycle.PAYMENT)
    assert await reject(session, mint, job) is None
    assert (box.state, box.plan) == ("active", "starter")
    assert await jobs.claim(session) == [later, lifted]
    await assert_written(session, box)


async def test_a_rejected_step_of_the_retention_begins_it_anew(session: AsyncSession, mint: Mint, box: Box) -> None:
    condemned = await lifecycle.condemn(session, box, ADMIN)
    assert condemned is not None
    close(condemned)
    began = box.condemned_at
    for verb, state, deletion in (("approve", "condemned", "held"), ("erase", "condemned", "approved")):
        [job] = await lifecycle.end_retention(session, NOW)
        assert job.verb == verb
        made = await reject(session, mint, await held(session, job))
        assert made is not None
        close(made)
        assert (box.state, box.deletion, box.condemned_at != began) == (state, deletion, True)
        [again] = await lifecycle.end_retention(session, NOW)
        close(again)


async def test_a_start_that_failed_leaves_the_box_stopped_by_the_admin(
    session: AsyncSession, mint: Mint, box: Box
) -> None:
    stopped = await lifecycle.suspend(session, box, STRIPE, lifecycle.PAYMENT)
    assert stopped is not None
    close(stopped)
    job = await lifecycle.reactivate(session, mint, box, STRIPE, lifecycle.PAYMENT)
    assert job is not None
    jobs.failed(job, Permanent("no"))
    assert_only_a_rev(await reject(session, mint, job), box)
    assert (box.state, box.suspended_for) == ("suspended", ["admin"])
    await assert_written(session, box)


async def test_only_what_is_held_and_can_be_taken_back_is_rejected(session: AsyncSession, mint: Mint, box: Box) -> None:
    queued = await lifecycle.suspend(session, box, ADMIN)
    assert queued is not None
    with pytest.raises(Conflict, match="job_not_held"):
        await reject(session, mint, queued)
    queued.actor = "ops:ana@example.com"
    with pytest.raises(Conflict, match="job_not_rejectable"):
        await reject(session, mint, await held(session, queued))
    first = (await session.scalars(select(Job).where(Job.verb == "provision"))).one()
    with pytest.raises(Conflict, match="job_not_rejectable"):
        await reject(session, mint, await held(session, first))
    with pytest.raises(NotFound):
        await rejections.reject(session, mint, "x", ADMIN, "why")


@pytest.mark.parametrize("reason", ["", " ", "a\nb", "a" * 201])
async def test_a_reason_is_one_line(session: AsyncSession, mint: Mint, box: Box, reason: str) -> None:
    job = await held(session, await lifecycle.suspend(session, box, ADMIN))
    with pytest.raises(Invalid):
        await rejections.reject(session, mint, job.id, ADMIN, reason)


async def test_a_box_whose_newest_job_was_rejected_and_nothing_followed_can_begin_anew(
    session: AsyncSession, box: Box
) -> None:
    (await held(session, await lifecycle.suspend(session, box, ADMIN))).state = JobState.REJECTED
    await session.flush()
    job = await retries.renew(session, box, ADMIN)
    assert (job.verb, job.fields, box.rev) == ("reactivate", {"rev": 3}, 3)
