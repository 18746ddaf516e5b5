"""What a look at the cluster proves about jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.clients.argocd import Observed
from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core.db import Database
from controller.domain import boxes, jobs
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState
from controller.workers import provisioning
from tests.proxy.conftest import bought

KUBECONFIG = """
{apiVersion: v1, kind: Config, current-context: x, users: [{name: x, user: {}}],
 contexts: [{name: x, context: {cluster: x, user: x}}],
 clusters: [{name: x, cluster: {server: "http://127.0.0.1:9"}}]}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A cluster that nobody needs to ask: a provision takes nothing away."""
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    return Cluster(ClusterSettings(kubeconfig=tmp_path / "kubeconfig"))


@pytest.fixture
async def box_id(database: Database) -> str:
    return (await bought(database))[0]


def seen(box_id: str, rev: int = 1) -> Observed:
    """A settled Application."""
    return Observed(box_id, "local", rev, "Synced", "Healthy", "Succeeded", operating=False, resources=9, message=None)


async def job_of(database: Database, box_id: str, *, committed: bool = False) -> Job:
    """The box's only job, marked as committed if asked."""
    async with database.transaction() as session:
        [job] = await jobs.open_of(session, box_id)
        if committed:
            jobs.committed(job, "a" * 40)
        return job


async def test_a_settled_application_moves_its_job_on(database: Database, cluster: Cluster, box_id: str) -> None:
    await job_of(database, box_id, committed=True)
    assert await provisioning.observe(database, cluster, seen(box_id)) is False
    assert (await job_of(database, box_id)).state == JobState.SYNCED
    async with database.transaction() as session:
        assert (await boxes.get(session, box_id)).synced_rev == 1


async def test_an_application_that_settled_before_its_commit_was_recorded_is_looked_at_again(
    database: Database, cluster: Cluster, box_id: str
) -> None:
    assert await provisioning.observe(database, cluster, seen(box_id)) is True
    assert (await job_of(database, box_id, committed=True)).state == JobState.COMMITTED
    assert await provisioning.observe(database, cluster, seen(box_id)) is False
    assert (await job_of(database, box_id)).state == JobState.SYNCED


async def test_an_application_at_an_older_rev_proves_nothing(database: Database, cluster: Cluster, box_id: str) -> None:
    await job_of(database, box_id, committed=True)
    assert await provisioning.observe(database, cluster, seen(box_id, rev=0)) is False
    assert (await job_of(database, box_id)).state == JobState.COMMITTED


async def test_an_application_of_that_name_in_another_cell_proves_nothing(
    database: Database, cluster: Cluster, box_id: str
) -> None:
    await job_of(database, box_id, committed=True)
    astray = replace(seen(box_id), cell="us1-a", health="Degraded")
    assert await provisioning.observe(database, cluster, replace(astray, health="Healthy")) is False
    box = await examined(database, cluster, astray)
    assert ((await job_of(database, box_id)).state, box.illness) == (JobState.COMMITTED, None)


async def examined(database: Database, cluster: Cluster, look: Observed) -> Box:
    """The box after that look at it."""
    await provisioning.observe(database, cluster, look)
    async with database.transaction() as session:
        return await boxes.get(session, look.box_id)


async def test_what_the_cluster_says_of_an_ill_box_is_kept_until_it_is_well(
    database: Database, cluster: Cluster, box_id: str
) -> None:
    ill = replace(seen(box_id), sync="Unknown", trouble="ComparisonError chart_does_not_render")
    first = await examined(database, cluster, ill)
    assert first.illness == "sync Unknown, health Healthy, phase Succeeded: ComparisonError chart_does_not_render"
    again = await examined(database, cluster, replace(ill, health="Degraded"))
    assert (again.ill_since, "health Degraded" in (again.illness or "")) == (first.ill_since, True)
    well = await examined(database, cluster, seen(box_id))
    assert (first.ill_since is not None, well.ill_since, well.illness) == (True, None, None)
