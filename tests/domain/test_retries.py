"""A failed job gets another try in the box's order, and only with what the box still wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.errors import Conflict, NotFound, Permanent
from controller.domain import boxes, jobs, lifecycle, retries
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.lifecycle import Mint, Why
from tests import factories, standbys

ADMIN = Why("admin")


async def made(session: AsyncSession) -> tuple[Mint, Box]:
    """A box whose provision is in Git."""
    mint = factories.mint()
    draft = await factories.draft(session, mint)
    job = await lifecycle.converge(session, mint, factories.facts(draft.id), Why("stripe"))
    assert job is not None
    jobs.committed(job, "a" * 40)
    return mint, await boxes.get(session, job.box_id)


async def refused(session: AsyncSession, job: Job | None) -> Job:
    assert job is not None
    jobs.failed(job, Permanent("git_push_refused"))
    await session.flush()
    return job


async def landed(session: AsyncSession, job: Job | None) -> None:
    assert job is not None
    jobs.committed(job, "b" * 40)
    await session.flush()


async def test_a_job_that_nothing_has_overtaken_keeps_its_rev(session: AsyncSession) -> None:
    _, box = await made(session)
    job = await refused(session, await lifecycle.resize(session, box, "team", ADMIN))
    await lifecycle.suspend(session, box, ADMIN)
    await retries.retry(session, job.id)
    await session.flush()
    assert [one.rev for one in await jobs.claim(session)] == [2, 3]


async def test_a_job_that_a_later_one_has_overtaken_becomes_the_newest(session: AsyncSession) -> None:
    _, box = await made(session)
    job = await refused(session, await lifecycle.resize(session, box, "team", ADMIN))
    await landed(session, await lifecycle.suspend(session, box, ADMIN))
    await retries.retry(session, job.id)
    assert (job.state, job.rev, box.rev, job.fields["rev"], job.fields["plan"]) == ("queued", 4, 4, 4, "team")


async def test_only_what_the_box_still_wants_is_tried_again(session: AsyncSession) -> None:
    _, box = await made(session)
    job = await refused(session, await lifecycle.resize(session, box, "team", ADMIN))
    assert set(job.fields) == {"rev", "plan", "volume_gib"}
    await landed(session, await lifecycle.resize(session, box, "pro", ADMIN))
    await retries.retry(session, job.id)
    assert job.fields == {"rev": 4, "volume_gib": box.volume_gib}


@pytest.mark.parametrize("last", [lifecycle.condemn, lambda session, box, why: _reactivated(session, box, why)])
async def test_a_stop_that_was_taken_back_or_outdone_is_not_tried_again(
    session: AsyncSession, last: Callable[[AsyncSession, Box, Why], Awaitable[Job | None]]
) -> None:
    _, box = await made(session)
    job = await refused(session, await lifecycle.suspend(session, box, ADMIN))
    await landed(session, await last(session, box, ADMIN))
    with pytest.raises(Conflict, match="job_overtaken"):
        await retries.retry(session, job.id)
    assert (job.state, list(await session.scalars(select(Job.rev).order_by(Job.rev)))) == ("failed", [1, 2, 3])


async def test_a_job_that_is_not_there_or_has_not_failed_is_told(session: AsyncSession) -> None:
    _, box = await made(session)
    job = await lifecycle.suspend(session, box, ADMIN)
    assert job is not None
    with pytest.raises(Conflict, match="job_not_failed"):
        await retries.retry(session, job.id)
    with pytest.raises(NotFound):
        await retries.retry(session, "01m8000000000000000000000z")


async def _reactivated(session: AsyncSession, box: Box, why: Why) -> Job | None:
    return await lifecycle.reactivate(session, factories.mint(), box, why)


async def test_a_new_rev_that_changes_nothing_is_done_when_the_newest_job_would_be(session: AsyncSession) -> None:
    _, box = await made(session)
    first = await retries.renew(session, box, ADMIN)
    assert (first.verb, first.fields, box.rev) == ("reactivate", {"rev": 2}, 2)
    await landed(session, first)
    await landed(session, await lifecycle.suspend(session, box, ADMIN))
    again = await retries.renew(session, box, ADMIN)
    assert (again.verb, again.fields, box.state) == ("suspend", {"rev": 4}, "suspended")
    await landed(session, again)
    await landed(session, await lifecycle.resize(session, box, "team", ADMIN))
    assert (await retries.renew(session, box, ADMIN)).verb == "resize"


@pytest.mark.parametrize(
    ("last", "verb", "awaited"),
    [
        ("prepare", "reactivate", {}),
        ("claim", "update_connections", {"profile": 2}),
        ("upgrade", "upgrade", {"release": "2026.12.1"}),
    ],
)
async def test_it_names_what_a_gateway_has_to_report_and_makes_or_claims_nothing_anew(
    session: AsyncSession, mint: Mint, last: str, verb: str, awaited: dict[str, object]
) -> None:
    box = await standbys.ready(session, mint)
    if last == "claim":
        draft = await factories.draft(session, mint)
        await landed(session, await lifecycle.converge(session, mint, factories.facts(draft.id), Why("stripe")))
    if last == "upgrade":
        await landed(session, await lifecycle.upgrade(session, box, "2026.12.1", ADMIN))
    job = await retries.renew(session, box, ADMIN)
    assert (job.verb, job.fields) == (verb, {"rev": box.rev, **awaited})


@pytest.mark.parametrize("verb", ["suspend", "retire"])
async def test_a_box_whose_newest_job_is_not_in_git_or_took_its_file_gets_no_new_rev(
    session: AsyncSession, verb: str
) -> None:
    _, box = await made(session)
    job = await lifecycle.suspend(session, box, ADMIN)
    assert job is not None
    if verb == "retire":
        job.verb = verb
        await landed(session, job)
    with pytest.raises(Conflict) as caught:
        await retries.renew(session, box, ADMIN)
    assert caught.value.code == "box_not_renewable"
