"""The git writer when something goes wrong between a job's claim and its record."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, text

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core import clock
from controller.core.db import Database, DatabaseAway
from controller.domain import boxes, jobs, lifecycle
from controller.domain.caps import CapSettings
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Why
from controller.gitops import children
from controller.gitops.repository import GitSettings, Repository
from controller.workers import actors, provisioning
from tests.gitops import remotes
from tests.gitops.test_children import alive
from tests.proxy.conftest import bought
from tests.proxy.waiting import until
from tests.workers.test_provisioning import KUBECONFIG

LOCKS = """FROM pg_locks WHERE locktype = 'advisory'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A cluster that is away: a refresh is only a hint."""
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    return Cluster(ClusterSettings(kubeconfig=tmp_path / "kubeconfig"))


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return remotes.create(tmp_path / "remote.git")


class Died(Exception):
    """Stands for a SIGKILL."""


class Dying(Repository):
    """A writer that is killed once its push went through."""

    def push(self, sha: str) -> None:
        super().push(sha)
        raise Died


class Slow(Repository):
    """A writer in whose way something comes between its claim and its fetch."""

    meanwhile: Callable[[], None] | None = None

    def fetch(self) -> str:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().fetch()


class Full(Repository):
    """A clone on a full disk."""

    def chain(self, tip: str, commits: object) -> list[str]:
        raise OSError(errno.ENOSPC, "No space left on device")


def clone(kind: type[Repository], remote: Path, name: str) -> Repository:
    return kind(GitSettings(git_remote=str(remote), git_clone_dir=remote.parent / name))


async def all_jobs(database: Database) -> list[Job]:
    async with database.transaction() as session:
        return list(await session.scalars(select(Job).order_by(Job.rev)))


async def test_what_an_overtaker_pushed_and_did_not_record_is_found(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    await bought(database)
    loop, slow = (
        asyncio.get_running_loop(),
        Slow(GitSettings(git_remote=str(remote), git_clone_dir=remote.parent / "a")),
    )

    async def unlocked() -> bool:  # a backend lets go only as it ends
        async with database.transaction() as session:
            return bool(await session.scalar(text(f"SELECT count(*) = 0 {LOCKS}")))

    async def overtake() -> None:
        async with database.transaction() as session:  # the slow one loses its lock
            await session.execute(text(f"SELECT pg_terminate_backend(pid) {LOCKS}"))
        await until(unlocked)
        with pytest.raises(Died):
            await provisioning.write_commits(database, clone(Dying, remote, "b"), cluster)

    slow.meanwhile = lambda: asyncio.run_coroutine_threadsafe(overtake(), loop).result(20)
    with pytest.raises(DatabaseAway):
        await provisioning.write_commits(database, slow, cluster)
    [job] = await all_jobs(database)
    assert (job.state, job.commit_sha) == (JobState.COMMITTED, remotes.git(remote, "rev-parse", "main"))


async def test_a_full_disk_is_a_counted_attempt(database: Database, cluster: Cluster, remote: Path) -> None:
    await bought(database)
    await provisioning.write_commits(database, clone(Full, remote, "a"), cluster)
    [job] = await all_jobs(database)
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)
    assert "No space left" in str(job.error)


async def test_no_rev_overtakes_another_whatever_the_clocks_said(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    box_id, _ = await bought(database)
    with clock.frozen(clock.now() - timedelta(minutes=10)):
        async with database.transaction() as session:
            await lifecycle.suspend(session, await boxes.get(session, box_id), Why("admin"))
    await provisioning.write_commits(database, clone(Repository, remote, "a"), cluster)
    assert [(job.rev, job.state) for job in await all_jobs(database)] == [(1, "committed"), (2, "committed")]


async def test_what_follows_a_refused_job_lands_after_it_was_refused(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    box_id, _ = await bought(database)
    await provisioning.write_commits(database, clone(Repository, remote, "a"), cluster)
    remotes.refuse_pushes_touching(remote, "plan: .starter.")
    async with database.transaction() as session:
        box = await boxes.get(session, box_id, lock=True)
        await lifecycle.resize(session, box, "starter", Why("admin"))
        await lifecycle.suspend(session, box, Why("admin"))
    await provisioning.write_commits(database, clone(Repository, remote, "a"), cluster)
    told = [(job.rev, job.state) for job in await all_jobs(database)]
    assert told == [(1, "committed"), (2, "failed"), (3, "committed")]


async def test_a_round_that_is_cut_off_leaves_no_git_and_the_next_goes_on(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    await bought(database)
    remotes.hang_on_push(remote)
    cut = asyncio.create_task(provisioning.write_commits(database, clone(Repository, remote, "a"), cluster))

    async def hangs() -> bool:
        return bool(remotes.hanging(remote))

    await until(hangs)
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    await until(partial(ended, remotes.hanging(remote)))
    remotes.accept_pushes(remote)
    await provisioning.write_commits(database, clone(Repository, remote, "a"), cluster)
    assert [(job.state, job.attempts) for job in await all_jobs(database)] == [("committed", 0)]


async def test_a_hanging_remote_ends_with_the_round_and_costs_no_attempt(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    await bought(database)
    remotes.hang_on_push(remote)
    repository = clone(Repository, remote, "a")
    again = await provisioning.write_commits(database, repository, cluster, timedelta(seconds=1))
    assert again == timedelta(0)
    assert [(job.state, job.attempts) for job in await all_jobs(database)] == [("queued", 0)]


class Stopping(Repository):
    """A writer whose round is in its second half once it has pushed."""

    def push(self, sha: str) -> None:
        super().push(sha)
        current = children.current()
        assert current is not None
        current.half = 0.0


async def test_a_round_that_is_late_after_a_full_batch_leaves_the_next_to_its_successor(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    box_ids = [(await bought(database))[0] for _ in range(2)]
    for _ in range(25):  # 52 jobs: a batch has 50
        async with database.transaction() as session:
            for box_id in box_ids:
                box = await boxes.get(session, box_id, lock=True)
                other = "pro" if box.plan == "starter" else "starter"
                await lifecycle.resize(session, box, other, Why("admin"))
    assert await provisioning.write_commits(database, clone(Stopping, remote, "a"), cluster) == timedelta(0)
    assert [job.state for job in await all_jobs(database)].count("committed") == 50
    assert await provisioning.write_commits(database, clone(Repository, remote, "a"), cluster) is None
    assert {job.state for job in await all_jobs(database)} == {"committed"}


def test_a_round_ends_before_its_actor_does() -> None:
    assert children.LIMIT < actors.TIME_LIMIT < actors.HARD_TIME_LIMIT


async def ended(pids: list[int]) -> bool:
    return not any(alive(pid) for pid in pids)


async def test_past_a_cap_a_job_waits_and_lands_once_it_is_approved(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    writer, allowed = clone(Repository, remote, "a"), CapSettings(cap_endings_an_hour=1)
    for _ in range(2):
        box_id, _ = await bought(database)
        async with database.transaction() as session:
            await lifecycle.condemn(session, await boxes.get(session, box_id), Why("stripe"))
    await provisioning.write_commits(database, writer, cluster, allowed=allowed)
    [parked] = [job for job in await all_jobs(database) if job.state == JobState.NEEDS_APPROVAL]
    async with database.transaction() as session:
        await jobs.approve(session, await session.get_one(Job, parked.id), "admin")
    await provisioning.write_commits(database, writer, cluster, allowed=allowed)
    assert {job.state for job in await all_jobs(database)} == {JobState.COMMITTED}
    assert f"Job-Id: {parked.id}" in remotes.git(remote, "log", "-1", "--grep=Approved-By: admin", "main")


async def test_a_plan_on_too_small_a_volume_waits_for_an_approval(
    database: Database, cluster: Cluster, remote: Path
) -> None:
    writer = clone(Repository, remote, "a")
    box_id, _ = await bought(database)
    async with database.transaction() as session:
        resized = await lifecycle.resize(session, await boxes.get(session, box_id), "team", Why("admin"))
        assert resized is not None
        resized.fields = {"rev": resized.rev, "plan": "team"}
    await provisioning.write_commits(database, writer, cluster)
    async with database.transaction() as session:
        parked = await session.get_one(Job, resized.id)
        assert (parked.state, list(parked.approvals)) == (JobState.NEEDS_APPROVAL, ["volume_below_plan"])
        await jobs.approve(session, parked, "admin")
    await provisioning.write_commits(database, writer, cluster)
    assert {job.state for job in await all_jobs(database)} == {JobState.COMMITTED}
