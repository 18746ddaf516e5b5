"""Connections become jobs: one for a burst, none without news, and versions that only count up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.errors import Conflict, NotFound
from controller.domain import boxes, completion, connections, jobs, lifecycle
from controller.domain.boxes import Box
from controller.domain.jobs import Job, Verb
from controller.domain.lifecycle import Mint, Why
from tests import factories

WHY = Why("admin", "req_1")


@pytest.fixture
async def box(session: AsyncSession, mint: Mint) -> Box:
    draft = await factories.draft(session, mint)
    job = await lifecycle.converge(session, mint, factories.facts(draft.id), Why("stripe"))
    assert job is not None
    jobs.committed(job, "a" * 40)
    return await boxes.get(session, job.box_id)


async def updates(session: AsyncSession, box: Box) -> list[Job]:
    query = select(Job).where(Job.box_id == box.id, Job.verb == Verb.UPDATE_CONNECTIONS).order_by(Job.rev)
    return list(await session.scalars(query))


async def connected(session: AsyncSession, box: Box, provider: str = "linear") -> Job:
    job = await lifecycle.connect(session, box, provider, WHY)
    assert job is not None
    return job


async def test_a_job_carries_providers_versions_and_the_next_profile_alone(session: AsyncSession, box: Box) -> None:
    job = await connected(session, box)
    assert job.fields == {"rev": 2, "profile": 2, "connections": [{"provider": "linear", "version": 1}]}


async def test_a_burst_shares_one_job_while_no_writer_has_begun_with_it(session: AsyncSession, box: Box) -> None:
    made = [await connected(session, box, provider) for provider in ("linear", "github", "slack")]
    assert {job.id for job in made} == {made[0].id}
    assert [item["provider"] for item in made[0].fields["connections"]] == ["github", "slack", "linear"]


async def test_a_job_that_a_writer_has_begun_with_is_left_alone_and_the_next_waits(
    session: AsyncSession, box: Box
) -> None:
    with clock.frozen(clock.now()):
        first = await connected(session, box)
        first.base_sha = "b" * 40
        second, third = await connected(session, box, "github"), await connected(session, box, "slack")
    assert second is third
    assert (second.rev, second.next_attempt_at) == (3, first.created_at + jobs.BURST)
    assert len(first.fields["connections"]) == 1


async def test_a_job_behind_which_another_waits_is_left_alone(session: AsyncSession, box: Box) -> None:
    first = await connected(session, box)
    await lifecycle.suspend(session, box, WHY)
    assert (await connected(session, box, "github")).rev == first.rev + 2


async def test_after_the_burst_a_change_is_due_at_once(session: AsyncSession, box: Box) -> None:
    first = await connected(session, box)
    jobs.committed(first, "b" * 40)
    with clock.frozen(first.created_at + jobs.BURST + timedelta(seconds=1)):
        assert (await connected(session, box, "github")).next_attempt_at == clock.now()


async def test_every_change_counts_the_version_up_and_what_is_no_news_makes_no_job(
    session: AsyncSession, box: Box
) -> None:
    verbs = [
        (lifecycle.disconnect, 0), (lifecycle.require_reconnect, 0), (lifecycle.connect, 1), (lifecycle.connect, 2),
        (lifecycle.require_reconnect, 3), (lifecycle.require_reconnect, 3), (lifecycle.connect, 4),
        (lifecycle.disconnect, 5), (lifecycle.disconnect, 5), (lifecycle.require_reconnect, 5), (lifecycle.connect, 6),
    ]  # fmt: skip
    before = 0
    for verb, version in verbs:
        assert (await verb(session, box, "jira", WHY) is not None) == (version != before)
        before = version
        assert [row.version for row in await connections.of_box(session, box.id)] == [version][: version > 0]


async def test_what_needs_a_reconnect_stays_in_the_manifest_and_what_is_disconnected_does_not(
    session: AsyncSession, box: Box
) -> None:
    for provider in ("linear", "github"):
        await connected(session, box, provider)
    await lifecycle.require_reconnect(session, box, "github", WHY)
    job = await lifecycle.disconnect(session, box, "linear", WHY)
    assert job is not None
    assert job.fields["connections"] == [{"provider": "github", "version": 2}]


async def test_a_provider_that_we_do_not_have_is_refused(session: AsyncSession, box: Box) -> None:
    with pytest.raises(NotFound, match="provider_unknown"):
        await lifecycle.connect(session, box, "myspace", WHY)
    assert await updates(session, box) == []


async def test_condemning_ends_every_connection_in_the_same_commit(session: AsyncSession, box: Box) -> None:
    await connected(session, box)
    job = await lifecycle.condemn(session, box, WHY)
    assert job is not None
    assert (job.verb, job.fields["connections"], job.fields["profile"]) == ("destroy", [], 3)
    with pytest.raises(Conflict):
        await lifecycle.connect(session, box, "linear", WHY)


async def test_condemning_a_box_without_connections_changes_its_state_alone(session: AsyncSession, box: Box) -> None:
    job = await lifecycle.condemn(session, box, WHY)
    assert job is not None
    assert job.fields == {"rev": 2, "state": "condemned"}


async def test_it_is_done_when_the_gateway_reports_that_profile_and_not_before(session: AsyncSession, box: Box) -> None:
    job = await connected(session, box)
    jobs.committed(job, "b" * 40)
    jobs.synced(job)
    await completion.report_ready(session, box.id, profile=1, gateway="1")
    assert job.state == "synced"
    await completion.report_ready(session, box.id, profile=2, gateway="1")
    assert job.state == "done"


async def test_a_box_without_a_pod_needs_no_report(session: AsyncSession, box: Box) -> None:
    await lifecycle.suspend(session, box, WHY)
    job = await connected(session, box)
    jobs.committed(job, "b" * 40)
    jobs.synced(job)
    await completion.finish(session, box)
    assert job.state == "done"
