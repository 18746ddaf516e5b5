"""One box in a whole cell: real Postgres, a real remote, the git writer, and a cluster with Argo CD and a kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from controller.clients import argocd
from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core import clock
from controller.core.db import Database
from controller.core.errors import CloudError
from controller.core.queue import Doorbell
from controller.domain import boxes
from controller.domain.boxes import Box
from controller.domain.git_remote import LONGEST_WAIT
from controller.domain.jobs import Job
from controller.domain.lifecycle import LifecycleSettings
from controller.gitops.repository import GitSettings, Repository
from controller.workers import provisioning, retiring, stopping, sweeper
from tests.gitops import remotes
from tests.proxy.conftest import bought
from tests.proxy.waiting import until
from tests.sandbox.cluster import running

PATIENCE = 60.0
NONE = timedelta(0)


@dataclass
class Town:
    """Everything around one box; ``pass_by`` is one round of the writer and the watcher."""

    database: Database
    live: running.Cluster
    cluster: Cluster
    repository: Repository
    box_id: str
    token: str
    keep: LifecycleSettings = field(default_factory=lambda: LifecycleSettings(retention=NONE, retire_after=NONE))

    async def pass_by(self) -> None:
        """The writer writes, the watcher looks at what is there, and who is to stop is stopped."""
        with clock.frozen(clock.now() + LONGEST_WAIT):  # a remote that was away is asked again
            after = self.keep.retire_after
            await provisioning.write_commits(self.database, self.repository, self.cluster, retire_after=after)
        await stopping.look(self.database, self.cluster, running.CELL)
        await retiring.finish(self.database, self.cluster)
        await self.watch()

    async def sweep(self, bell: Doorbell) -> None:
        """The sweeper's round."""
        await sweeper.sweep(self.database, bell, self.keep)

    async def watch(self) -> None:
        """What the watcher does with the box's Application as it is now."""
        found = await asyncio.to_thread(self.cluster.application, self.box_id)
        if found is not None:
            await provisioning.observe(self.database, self.cluster, argocd.read(found))

    async def until(self, true: Callable[[], Awaitable[Any]]) -> None:
        """Let rounds pass until it is ``true``."""

        async def probe() -> Any:
            with suppress(CloudError):
                await self.pass_by()
            return await true()

        await until(probe, PATIENCE)

    async def job(self, verb: str) -> Job:
        """The box's newest job of that verb."""
        async with self.database.transaction() as session:
            query = select(Job).where(Job.box_id == self.box_id, Job.verb == verb).order_by(Job.rev.desc())
            found = (await session.scalars(query)).first()
        assert found is not None
        return found

    async def reached(self, verb: str, *states: str) -> bool:
        """Whether that job is in one of the states."""
        return (await self.job(verb)).state in states

    async def box(self) -> Box:
        """The box as Postgres has it."""
        async with self.database.transaction() as session:
            return await boxes.get(session, self.box_id)

    async def pods(self) -> int:
        """How many pods it has."""
        return len(await asyncio.to_thread(self.live.pods, self.box_id))

    def actions(self) -> list[str]:
        """What ``main`` says was done, oldest first."""
        return remotes.git(self.live.remote, "log", "--reverse", "--format=%(trailers:key=Action,valueonly)").split()


@asynccontextmanager
async def town(database: Database, live: running.Cluster, folder: Path) -> AsyncIterator[Town]:
    """A box that runs in ``live``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELL", running.CELL)
        box_id, token = await bought(database)
    cluster = Cluster(ClusterSettings(kubeconfig=live.data / "kubeconfig"))
    repository = Repository(GitSettings(git_remote=str(live.remote), git_clone_dir=folder / "clone.git"))
    made = Town(database, live, cluster, repository, box_id, token)
    await made.until(lambda: made.reached("provision", "synced", "done"))
    yield made
