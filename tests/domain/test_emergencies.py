"""An admin's stop: tokens dead in the same transaction, a job for Git, and nothing but ``start`` lets the box run."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.db import Database
from controller.core.errors import Conflict, Invalid
from controller.domain import boxes, emergencies, jobs, lifecycle, stoppages
from controller.domain.boxes import Box
from controller.domain.jobs import Job, Verb
from controller.domain.lifecycle import Why
from controller.domain.states import Deletion, State
from controller.domain.stoppages import STOPPED, Stoppage
from controller.domain.tokens import AgentToken, ProxyToken
from tests import factories, standbys
from tests.proxy.conftest import bought

WHY = Why("admin", "r1")
MINT = factories.mint()


async def live_tokens(session: AsyncSession, box_id: str) -> list[int]:
    found = []
    for table in (AgentToken, ProxyToken):
        query = select(table.version).where(table.box_id == box_id, table.revoked_at.is_(None))
        found += list(await session.scalars(query))
    return found


async def box_of(session: AsyncSession, box_id: str) -> Box:
    return await boxes.get(session, box_id, lock=True)


async def verbs(session: AsyncSession, box_id: str) -> list[str]:
    return [job.verb for job in await jobs.open_of(session, box_id)]


async def test_a_stopped_box_has_no_token_and_a_job_for_git(database: Database) -> None:
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        made = await emergencies.stop(session, await box_of(session, box_id), WHY, " it mails strangers ")
        job = await session.get_one(Job, made.job_id)
        box = await box_of(session, box_id)
        assert (made.actor, made.reason, await live_tokens(session, box_id)) == ("admin", "it mails strangers", [])
    assert (box.state, box.suspended_for, job.verb, job.rev) == ("suspended", [STOPPED], Verb.SUSPEND, 2)


async def test_twice_is_once(database: Database) -> None:
    box_id, _ = await bought(database)
    for _ in range(2):
        async with database.transaction() as session:
            await emergencies.stop(session, await box_of(session, box_id), WHY, "x")
    async with database.transaction() as session:
        assert len(list(await session.scalars(select(Stoppage)))) == 1
        assert await verbs(session, box_id) == ["provision", "suspend"]


async def test_started_again_it_has_new_tokens_of_which_git_hears(database: Database) -> None:
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        box = await box_of(session, box_id)
        made = await emergencies.stop(session, box, WHY, "x")
        job = await emergencies.start(session, MINT, box, WHY)
        assert job is not None
        assert (job.verb, job.fields["secrets"]) == (Verb.REACTIVATE, {"agent": 2, "proxy": 2, "telegram": 1})
        assert (await live_tokens(session, box_id), made.lifted_by) == ([2, 2], "admin")
        assert await emergencies.start(session, MINT, box, WHY) is None


async def test_nothing_but_start_lifts_it(database: Database) -> None:
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        box = await box_of(session, box_id)
        await emergencies.stop(session, box, WHY, "x")
        assert await lifecycle.reactivate(session, MINT, box, WHY) is None
        assert await lifecycle.reactivate(session, MINT, box, WHY, lifecycle.PAYMENT) is None
        assert box.state == State.SUSPENDED


async def test_a_box_that_does_not_pay_stays_suspended_and_runs_with_the_new_tokens_once_it_does(
    database: Database,
) -> None:
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        box = await box_of(session, box_id)
        await lifecycle.suspend(session, box, WHY, lifecycle.PAYMENT)
        await emergencies.stop(session, box, WHY, "x")
        assert await emergencies.start(session, MINT, box, WHY) is None
        job = await lifecycle.reactivate(session, MINT, box, WHY, lifecycle.PAYMENT)
        assert job is not None
        assert job.fields["secrets"]["agent"] == 2


async def test_stopped_again_before_argo_cd_was_let_go_it_is_the_same_stoppage_anew(database: Database) -> None:
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        box = await box_of(session, box_id)
        first = await emergencies.stop(session, box, WHY, "x")
        await emergencies.start(session, MINT, box, WHY)
        again = await emergencies.stop(session, box, WHY, "y")
        assert (again.id, again.lifted_at, again.reason) == (first.id, None, "y")
        assert (await session.get_one(Job, again.job_id)).rev == box.rev == 4
        assert await live_tokens(session, box_id) == []


async def test_a_condemned_box_is_stopped_too_for_its_pod_may_still_run(database: Database) -> None:
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        box = await box_of(session, box_id)
        ending = await lifecycle.condemn(session, box, WHY)
        assert ending is not None
        assert (await emergencies.stop(session, box, WHY, "x")).job_id == ending.id
        with pytest.raises(Conflict):
            await emergencies.start(session, MINT, box, WHY)


async def test_a_destroyed_box_cannot_be_stopped(database: Database) -> None:
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        box = await box_of(session, box_id)
        box.state, box.deletion = State.DESTROYED.value, Deletion.APPROVED.value
        with pytest.raises(Conflict) as caught:
            await emergencies.stop(session, box, WHY, "x")
    assert caught.value.code == "box_ended"


async def test_a_standby_is_nobodys_to_stop_and_keeps_its_tokens(database: Database) -> None:
    async with database.transaction() as session:
        box = await standbys.ready(session, MINT)
        with pytest.raises(Conflict) as caught:
            await emergencies.stop(session, box, WHY, "x")
        assert (caught.value.code, await emergencies.start(session, MINT, box, WHY)) == ("box_unowned", None)
        assert (await live_tokens(session, box.id), await verbs(session, box.id)) == ([1, 1], [])
        assert await stoppages.newest_of(session, box.id) is None


async def test_a_claimed_standby_is_stopped_as_its_owners_box(database: Database) -> None:
    async with database.transaction() as session:
        box = await standbys.ready(session, MINT, "pro")
        draft = await factories.draft(session, MINT)
        await lifecycle.converge(session, MINT, factories.facts(draft.id), WHY)
        await emergencies.stop(session, box, WHY, "x")
        assert (await live_tokens(session, box.id), await verbs(session, box.id)) == ([], ["claim", "suspend"])


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "x" * 501, "a\0"], ids=repr)
def test_a_reason_is_one_line(reason: str) -> None:
    with pytest.raises(Invalid):
        stoppages.checked_reason(reason)


@pytest.mark.parametrize(
    ("rev", "state", "lifted", "agreed"),
    [(2, "suspended", False, True), (3, "condemned", False, True), (1, "suspended", False, False),
     (3, "active", False, False), (3, "", False, False), (3, "odd", False, False), (3, "active", True, True),
     (1, "active", True, False)],
)  # fmt: skip
def test_argo_cd_is_let_go_once_git_says_the_same(rev: int, state: str, lifted: bool, agreed: bool) -> None:
    stoppage = Stoppage(lifted_at=clock.now() if lifted else None)
    assert stoppages.agreed(stoppage, Job(rev=2), rev, state) is agreed
