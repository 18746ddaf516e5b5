"""A git writer that no lock holds back, for two of them at once: one that dies is followed by the next.

``python -m tests.faults.rivals CLONE``; everything else comes from the environment, as for a real one. What is costly
to import is imported once: each life is a fork.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sqlalchemy.orm import configure_mappers

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError
from controller.core.settings import DatabaseSettings, load
from controller.domain.schema import METADATA
from controller.gitops.repository import GitSettings, Repository
from controller.workers import provisioning

PAUSE_SECONDS = 0.02


class Open(Database):
    """A database whose locks let everybody in."""

    @asynccontextmanager
    async def exclusive(self, name: str) -> AsyncIterator[bool]:
        """Hold nothing, and say that it is held."""
        yield True


async def write(clone: Path, cluster: Cluster) -> None:
    """Land jobs until somebody ends this process."""
    database = Open(load(DatabaseSettings))
    repository = Repository(load(GitSettings).model_copy(update={"git_clone_dir": clone}))
    while True:
        with suppress(CloudError):
            await provisioning.write_commits(database, repository, cluster)
        await asyncio.sleep(PAUSE_SECONDS)


def live(clone: Path) -> None:
    """One life after the other, until SIGTERM; one that ends otherwise than by a kill is the last."""
    assert METADATA.tables, "rows refer to one another"
    configure_mappers()
    cluster, child = Cluster(load(ClusterSettings)), 0

    def end(*_: object) -> None:
        if child:
            os.kill(child, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            asyncio.run(write(clone, cluster))
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            sys.exit(1)


if __name__ == "__main__":
    logs.configure("writer")
    live(Path(sys.argv[1]))
