"""When a job that needs the gateway is done: once the gateway that runs now has reported, whenever that was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core.db import Database
from controller.domain import boxes, completion, jobs, lifecycle
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Why
from controller.workers import provisioning
from tests import factories
from tests.proxy.conftest import bought
from tests.sandbox.cluster.serving import served
from tests.workers.test_provisioning import seen

WHY = Why("admin")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without a pod."""
    with served(tmp_path / "objects.sqlite") as there:
        known = {"name": "x", "context": {"cluster": "x", "user": "x"}}
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [known],
            "users": [{"name": "x", "user": {}}], "clusters": [{"name": "x", "cluster": {"server": there.url}}],
        }))  # fmt: skip
        yield Cluster(ClusterSettings(kubeconfig=file))


async def report(database: Database, box_id: str) -> None:
    async with database.transaction() as session:
        await completion.report_ready(session, box_id, profile=1, gateway="x")


async def change(database: Database, cluster: Cluster, box_id: str, *verbs: str) -> None:
    """What admins did, and that Git and the cluster have all of it."""
    async with database.transaction() as session:
        box = await boxes.get(session, box_id)
        for verb in verbs:
            if verb == "suspend":
                await lifecycle.suspend(session, box, WHY)
            else:
                await lifecycle.reactivate(session, factories.mint(), box, WHY)
        rev = box.rev
        for job in await jobs.open_of(session, box_id, JobState.QUEUED):
            jobs.committed(job, "a" * 40)
    assert await provisioning.observe(database, cluster, seen(box_id, rev)) is False


async def states(database: Database) -> list[str]:
    async with database.transaction() as session:
        return [job.state for job in await session.scalars(select(Job).order_by(Job.rev))]


async def test_a_report_that_came_before_the_commit_was_recorded_counts(database: Database, cluster: Cluster) -> None:
    box_id, _ = await bought(database)
    await report(database, box_id)
    await change(database, cluster, box_id)
    assert await states(database) == ["done"]


async def test_a_box_that_was_never_seen_stopped_need_not_report_again(database: Database, cluster: Cluster) -> None:
    box_id, _ = await bought(database)
    await change(database, cluster, box_id)
    await report(database, box_id)
    await change(database, cluster, box_id, "suspend", "reactivate")
    assert await states(database) == ["done"] * 3


async def test_a_box_that_was_stopped_must_report_again(database: Database, cluster: Cluster) -> None:
    box_id, _ = await bought(database)
    await change(database, cluster, box_id)
    await report(database, box_id)
    await change(database, cluster, box_id, "suspend")
    await change(database, cluster, box_id, "reactivate")
    assert await states(database) == ["done", "done", "synced"]
    await report(database, box_id)
    assert await states(database) == ["done"] * 3
