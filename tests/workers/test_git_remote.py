"""While the Git remote is away or takes nothing, jobs wait, everybody sees why, and nothing is out of order after."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from controller.clients.kubernetes import Cluster
from controller.core import clock, metrics
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.domain import boxes, git_remote, lifecycle
from controller.domain.git_remote import LONGEST_WAIT, GitRemote
from controller.domain.jobs import Job
from controller.domain.lifecycle import LifecycleSettings, Why
from controller.gitops.repository import GitSettings, Repository
from controller.workers import provisioning, sweeper
from tests.gitops import remotes
from tests.gitops.test_commits import job_ids
from tests.proxy.conftest import bought
from tests.workers.test_provisioning_commits import all_jobs, cluster, remote

__all__ = ["cluster", "remote"]


async def write(database: Database, cluster: Cluster, remote: Path, *, later: timedelta = LONGEST_WAIT) -> None:
    """One round of a writer that starts anew, ``later`` than now."""
    repository = Repository(GitSettings(git_remote=str(remote), git_clone_dir=remote.parent / "clone.git"))
    with clock.frozen(clock.now() + later):
        await provisioning.write_commits(database, repository, cluster)


async def state(database: Database) -> GitRemote:
    async with database.transaction() as session:
        return await git_remote.get(session)


async def change(database: Database, box_id: str) -> None:
    """Two jobs more for the box."""
    async with database.transaction() as session:
        box = await boxes.get(session, box_id, lock=True)
        await lifecycle.resize(session, box, "starter", Why("admin"))
        await lifecycle.suspend(session, box, Why("admin"))


async def in_turn(database: Database) -> list[str]:
    async with database.transaction() as session:
        return list(await session.scalars(select(Job.id).order_by(Job.created_at, Job.rev)))


async def test_while_the_remote_is_away_jobs_wait_and_use_up_no_attempt(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    await bought(database)
    remote.rename(remote.with_name("moved.git"))
    for step in range(1, 4):
        await write(database, cluster, remote, later=step * LONGEST_WAIT)
    [job] = await all_jobs(database)
    assert (job.state, job.attempts, "git_remote_away" in str(job.error)) == ("queued", 0, True)
    told = await state(database)
    assert (told.error, told.failures, "does not" in str(told.reason)) == ("git_remote_away", 3, True)


async def test_a_remote_that_was_away_a_moment_ago_is_not_asked(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    await bought(database)
    remote.rename(remote.with_name("moved.git"))
    now = clock.now()
    for _ in range(2):
        with clock.frozen(now):
            await write(database, cluster, remote, later=timedelta(0))
    assert (await state(database)).failures == 1


async def test_once_the_remote_is_back_everything_lands_in_order(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    for _ in range(3):
        await change(database, (await bought(database))[0])
    remote.rename(remote.with_name("moved.git"))
    await write(database, cluster, remote)
    remote.with_name("moved.git").rename(remote)
    await write(database, cluster, remote, later=2 * LONGEST_WAIT)
    assert job_ids(remote) == await in_turn(database)
    told = await state(database)
    assert (told.since, told.error, told.reason, told.failures, told.next_try_at) == (None, None, None, 0, None)


async def test_the_caller_is_told_when_a_remote_that_is_away_is_asked_again(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    await bought(database)
    away = Repository(GitSettings(git_remote="/nowhere.git", git_clone_dir=remote.parent / "clone.git"))
    wait = await provisioning.write_commits(database, away, cluster)
    assert wait is not None
    assert timedelta(0) < wait <= git_remote.FIRST_WAIT
    assert await provisioning.write_commits(database, away, cluster) is None


async def test_a_branch_that_is_closed_is_shown_as_such(database: Database, cluster: Cluster, remote: Path) -> None:
    await bought(database)
    remotes.refuse_every_push(remote, "error: GH006: Protected branch update failed for refs/heads/main.")
    await write(database, cluster, remote)
    [job] = await all_jobs(database)
    told = await state(database)
    assert (job.state, job.attempts, told.error) == ("queued", 0, "git_branch_closed")
    assert told.reason == "error: GH006: Protected branch update failed for refs/heads/main."


async def test_one_job_that_is_refused_is_parked_with_the_words(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    await bought(database)
    remotes.refuse_every_push(remote, "no agents on Fridays")
    await write(database, cluster, remote)
    [job] = await all_jobs(database)
    assert (job.state, job.error) == ("failed", "git_push_refused (reason=no agents on Fridays)")
    assert (await state(database)).since is None


async def test_single_jobs_refused_in_the_same_words_one_after_the_other_are_queued_again(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    remotes.refuse_every_push(remote, "no agents on Fridays")
    for number in range(git_remote.SERIES):
        assert [job.state for job in await all_jobs(database)] == ["failed"] * number
        await bought(database)
        await write(database, cluster, remote)
    assert [(job.state, job.attempts) for job in await all_jobs(database)] == [("queued", 0)] * git_remote.SERIES
    told = await state(database)
    assert (told.error, told.reason) == (git_remote.EVERYTHING_REFUSED, "no agents on Fridays")
    remotes.accept_pushes(remote)
    await write(database, cluster, remote, later=2 * LONGEST_WAIT)
    assert sorted(job_ids(remote)) == sorted(await in_turn(database))


async def test_a_box_that_is_refused_again_and_again_is_not_everybody(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    box_id = (await bought(database))[0]
    await write(database, cluster, remote)
    remotes.refuse_every_push(remote, "no agents on Fridays")
    for plan in ("starter", "team", "pro"):
        async with database.transaction() as session:
            await lifecycle.resize(session, await boxes.get(session, box_id, lock=True), plan, Why("admin"))
    await write(database, cluster, remote)
    assert [job.state for job in await all_jobs(database)] == ["committed", *["failed"] * 3]


async def test_what_was_taken_in_between_ends_the_series(database: Database, cluster: Cluster, remote: Path) -> None:
    for number in range(git_remote.SERIES):
        await bought(database)
        remotes.refuse_every_push(remote, "no agents on Fridays")
        await write(database, cluster, remote)
        remotes.accept_pushes(remote)
        if number == 1:
            await bought(database)
            await write(database, cluster, remote)
    assert [job.state for job in await all_jobs(database)].count("failed") == git_remote.SERIES


async def test_a_closed_remote_stays_so_for_the_single_job_that_comes_next(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    held = [await bought(database) for _ in range(2)]
    remotes.refuse_every_push(remote, "no agents on Fridays")
    await write(database, cluster, remote)
    async with database.transaction() as session:
        for job in await session.scalars(select(Job).where(Job.box_id == held[0][0])):
            job.state = "done"
    await write(database, cluster, remote, later=2 * LONGEST_WAIT)
    assert sorted(job.state for job in await all_jobs(database)) == ["done", "queued"]
    assert (await state(database)).failures == 2


async def test_ops_see_for_how_long_the_remote_is_away(
    database: Database, cluster: Cluster, remote: Path, queue: QueueSettings
) -> None:
    with clock.frozen(clock.now() - timedelta(minutes=10)):
        await bought(database)
        await write(database, cluster, remote.with_name("none.git"))
    await sweeper.sweep(database, Doorbell(queue), LifecycleSettings())
    assert 500 < (metrics.REGISTRY.get_sample_value("git_remote_away_seconds") or 0) < 1000


async def test_bad_jobs_enough_to_fill_a_batch_do_not_keep_the_others_from_being_tried(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    for _ in range(51):
        await bought(database)
    remotes.refuse_every_push(remote, "no agents on Fridays")
    await write(database, cluster, remote)
    untried = [job.base_sha for job in await all_jobs(database)].count(None)
    for step in range(2, 30):
        await write(database, cluster, remote, later=step * LONGEST_WAIT)
        if None not in [job.base_sha for job in await all_jobs(database)]:
            break
    assert (untried, [job.base_sha for job in await all_jobs(database)].count(None)) == (1, 0)
