"""A watcher that can no longer hear the cluster ends, so that it is started again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.workers import watcher
from controller.workers.watcher import Deaf
from tests.workers.test_provisioning import KUBECONFIG


class Garbling(Cluster):
    """A cluster that answers what the library cannot read."""

    def applications(self, page: int = 1) -> tuple[list[dict[str, Any]], str]:
        raise ValueError("Expecting value: line 1 column 1")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_follower_that_died_ends_the_process(database: Database, queue: QueueSettings, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    garbling = Garbling(ClusterSettings(kubeconfig=tmp_path / "kubeconfig"))
    async with asyncio.timeout(60):
        with pytest.raises(Deaf):
            await watcher.run(database, garbling, Doorbell(queue), asyncio.Event(), "local")
