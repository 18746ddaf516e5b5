"""Two git writers without a lock, killed between any two of their steps, on a remote that does whatever remotes do,
beside ops who merge: each job is in one commit, and nothing that anybody wrote is lost.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from controller.core import clock, stops
from controller.core.db import Database
from controller.domain import boxes, lifecycle
from controller.domain.boxes import Box
from controller.domain.git_remote import GitRemote
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Why
from controller.domain.plans import PlanName
from controller.gitops import manifests
from controller.gitops.manifests import Spec
from controller.gitops.repository import Commit, GitSettings, PushRejected, Repository
from tests import factories
from tests.faults import measures
from tests.faults.stands import ROOT
from tests.faults.test_failpoints import POINTS
from tests.gitops import remotes
from tests.gitops.test_commits import job_ids
from tests.proxy.conftest import bought
from tests.workers.test_provisioning import KUBECONFIG

STEPS = sorted(point for point in POINTS if point.startswith("gitops."))
OPEN_AT_ONCE = 16
"""So many jobs are open: enough for batches, and few enough for many of them."""

WHY = Why("admin", "by hand")


class Field:
    """The remote, the rivals and ops around one database."""

    def __init__(self, folder: Path, dsn: str, kills: int) -> None:
        self.folder, self.kills = folder, kills
        self.remote = remotes.create(folder / "remote.git")
        remotes.give_trouble(self.remote)
        (folder / "kubeconfig").write_text(KUBECONFIG)
        self.merged: dict[str, int] = {}
        """What ops last wrote to the overrides of a box, by its path."""
        self.merges = 0
        environment = {
            **os.environ, "APP_ENV": "test", "POSTGRES_DSN": dsn, "KUBECONFIG": str(folder / "kubeconfig"),
            "GIT_REMOTE": str(self.remote), "GIT_CLONE_DIR": str(folder), "GIT_TIMEOUT": "PT4S", "GIT_MOST_PACKS": "4",
            "FAILPOINTS": ",".join(f"{step}:kill:{kills}" for step in STEPS), "FAILPOINT_LOG": str(folder / "hits"),
        }  # fmt: skip
        self.log = (folder / "log").open("ab")
        self.rivals = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.rivals", str(folder / name)],
                cwd=ROOT, env=environment, stdout=self.log, stderr=self.log,
            )
            for name in ("one", "other")
        ]  # fmt: skip

    def hits(self) -> Counter[str]:
        """How often a writer was killed, by the step."""
        log = self.folder / "hits"
        return Counter(log.read_text().split()) if log.exists() else Counter()

    def unspent(self) -> bool:
        """Whether a kill or a kind of trouble is still to come."""
        return self.hits() != Counter(dict.fromkeys(STEPS, self.kills)) or not set(remotes.TROUBLES) <= set(
            remotes.told(self.remote)
        )

    def state(self) -> str:
        """How far it is, for a message."""
        said = (self.folder / "log").read_text().splitlines()[-20:]
        return "\n".join([str(self.hits()), str(Counter(remotes.told(self.remote))), *said])

    def close(self) -> None:
        """End the rivals."""
        for one in self.rivals:
            one.send_signal(signal.SIGTERM)
        for one in self.rivals:
            one.wait(30)
        self.log.close()

    def merge(self) -> None:
        """One merge of ops: a file of theirs, and another memory limit for some box."""
        ops = Repository(GitSettings(git_remote=str(self.remote), git_clone_dir=self.folder / "ops"))
        while True:
            tip = ops.fetch()
            listed = remotes.git(self.remote, "ls-tree", "-r", "--name-only", tip, "cells/").split()
            files = {f"ops/{self.merges}.md": b"x\n"}
            if listed:
                path, limit = random.choice(listed), 2048 + self.merges
                said = b"overrides: {memory_limit_mib: %d}  # by ops" % limit
                files[path] = re.sub(rb"(?m)^overrides:.*$", said, ops.read(tip, [path])[path])
            try:
                ops.push(ops.chain(tip, [Commit(files, "ops: merge\n")])[0])
            except PushRejected:
                continue
            self.merges += 1
            self.merged |= {path: limit} if listed else {}
            return


async def merge_every_second(field: Field, stop: asyncio.Event) -> None:
    """Ops merge until it is over; on a slow machine less often, or no writer would ever be the first to push."""
    while not stop.is_set():
        began = time.monotonic()
        await asyncio.to_thread(field.merge)
        await stops.pause(stop, timedelta(seconds=max(1.0, 5 * (time.monotonic() - began))))


async def want(database: Database, box_id: str) -> None:
    """Somebody asks for another thing than the box is."""
    async with database.transaction() as session:
        box = await boxes.get(session, box_id, lock=True)
        if box.state == "suspended":
            await lifecycle.reactivate(session, factories.mint(), box, WHY)
        elif random.random() < 0.5:
            await lifecycle.suspend(session, box, WHY)
        else:
            await lifecycle.resize(
                session, box, PlanName.PRO if box.plan == PlanName.STARTER else PlanName.STARTER, WHY
            )


async def waiting(database: Database) -> int:
    """How many jobs are not in Git yet; none of them waits longer than it must."""
    async with database.transaction() as session:
        await session.execute(update(GitRemote).values(next_try_at=None))
    queued = select(Job).where(Job.state == JobState.QUEUED, Job.next_attempt_at > clock.now())
    async with database.transaction() as session:
        for job in await session.scalars(queued.with_for_update(skip_locked=True)):
            job.next_attempt_at = clock.now()
        return int(await session.scalar(select(func.count()).where(Job.state == JobState.QUEUED)) or 0)


async def ask_for(database: Database, field: Field, jobs: int, most: int) -> int:
    """Ask for ``jobs`` changes of as many boxes as it takes, until all have landed and every kill was made."""
    owned = [(await bought(database))[0] for _ in range(max(2, jobs // 25))]
    made, until = len(owned), time.monotonic() + most
    while (open_now := await waiting(database)) or made < jobs or field.unspent():
        failed = time.monotonic() > until or any(one.poll() is not None for one in field.rivals)
        assert not failed, f"{made} made, {open_now} open\n{field.state()}"
        for _ in range(OPEN_AT_ONCE - open_now if made < jobs or open_now == 0 else 0):
            await want(database, random.choice(owned))
            made += 1
        await asyncio.sleep(0.05)
    return made


@pytest.mark.smoke
async def test_every_job_is_in_one_commit_and_nothing_is_lost(
    database: Database, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: Callable[[int, int], int]
) -> None:
    field, stop, started = Field(tmp_path, dsn, size(25, 1)), asyncio.Event(), time.monotonic()
    monkeypatch.setenv("OPS", "yes")  # from here on in this process: the hooks leave ops alone
    merging = asyncio.create_task(merge_every_second(field, stop))
    try:
        made = await ask_for(database, field, size(1000, 24), most=size(3600, 900))
    finally:
        stop.set()
        await merging
        field.close()
    measures.recovered("two writers without a lock, all of it", time.monotonic() - started)
    measures.counted("of two writers", {"jobs": made, "kills": field.hits().total(), "merges": field.merges})
    measures.counted("pushes of two writers", Counter(remotes.told(field.remote)))
    await assert_nothing_lost(database, field)


async def assert_nothing_lost(database: Database, field: Field) -> None:
    """History is linear and sound, has each job once and all that ops did, and each file is as it was last wanted."""
    async with database.transaction() as session:
        jobs = list(await session.scalars(select(Job)))
        rows = list(await session.scalars(select(Box)))
    assert {job.state for job in jobs} == {JobState.COMMITTED}
    assert sorted(job_ids(field.remote)) == sorted(job.id for job in jobs)
    shas = remotes.git(field.remote, "log", "--format=%H %(trailers:key=Job-Id,valueonly,separator=)", "main")
    assert {job.commit_sha: job.id for job in jobs}.items() <= dict(
        line.partition(" ")[::2] for line in shas.splitlines()
    ).items()
    assert remotes.git(field.remote, "rev-list", "--merges", "--count", "main") == "0"
    remotes.git(field.remote, "fsck", "--strict", "--no-dangling")
    assert len(remotes.git(field.remote, "ls-tree", "--name-only", "main", "ops/").split()) == field.merges
    for box in rows:
        path = manifests.path(box.cell, box.id)
        found = manifests.read(remotes.git(field.remote, "show", f"main:{path}").encode() + b"\n")
        assert found.spec == Spec.model_validate(boxes.spec(box))
        assert found.overrides.memory_limit_mib == field.merged.get(path)
