"""A box goes through the end of its life until nothing but rows is left of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.domain import boxes, lifecycle
from controller.domain.lifecycle import Why
from controller.workers import replaying
from tests.gitops import remotes
from tests.sandbox.cluster.conftest import own_cluster
from tests.sandbox.cluster.running import Cluster
from tests.workers.towns import Town, town

__all__ = ["own_cluster"]


async def is_over(lived: Town, bell: Doorbell) -> bool:
    await lived.sweep(bell)
    return (await lived.box()).retired_at is not None


async def test_what_was_cancelled_ends_without_file_and_application(
    database: Database, own_cluster: Cluster, queue: QueueSettings, tmp_path: Path
) -> None:
    async with town(database, own_cluster, tmp_path) as lived:
        async with database.transaction() as session:
            await lifecycle.condemn(session, await boxes.get(session, lived.box_id, lock=True), Why("stripe", "evt_2"))
        bell = Doorbell(queue)
        await lived.until(lambda: is_over(lived, bell))
        assert lived.actions() == ["provision", "destroy", "approve", "erase", "retire"]
        assert "boxes/" not in remotes.git(own_cluster.remote, "ls-tree", "-r", "--name-only", "main")
        assert await asyncio.to_thread(own_cluster.application, lived.box_id) == {}
        assert await replaying.replay(database, lived.repository) == []
