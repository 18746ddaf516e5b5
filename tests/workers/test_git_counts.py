"""What the git writer shows ops: commits and the time of pushes, and failures by our own error codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core import metrics
from controller.core.db import Database
from controller.domain import boxes, lifecycle
from controller.domain.caps import CapSettings
from controller.domain.lifecycle import Why
from controller.gitops.repository import GitSettings, Repository
from controller.workers import health, provisioning
from tests.gitops import remotes
from tests.proxy.conftest import bought
from tests.workers.test_pod_metrics import KUBECONFIG


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A cluster that is away: Git does not wait for it."""
    (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(url="http://127.0.0.1:9"))
    return Cluster(ClusterSettings(kubeconfig=tmp_path / "kubeconfig"))


def shown(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0


def repository(remote: Path) -> Repository:
    return Repository(GitSettings(git_remote=str(remote), git_clone_dir=remote.parent / "clone.git"))


async def test_a_push_counts_its_commits_and_its_seconds(database: Database, cluster: Cluster, tmp_path: Path) -> None:
    await bought(database)
    before = shown("git_commits_total"), shown("git_push_seconds_count")
    await provisioning.write_commits(database, repository(remotes.create(tmp_path / "remote.git")), cluster)
    assert (shown("git_commits_total"), shown("git_push_seconds_count")) == (before[0] + 1, before[1] + 1)


async def test_a_remote_that_is_away_counts_by_its_error(database: Database, cluster: Cluster, tmp_path: Path) -> None:
    await bought(database)
    before = shown("git_failures_total", error="git_remote_away")
    await provisioning.write_commits(database, repository(tmp_path / "none.git"), cluster)
    assert shown("git_failures_total", error="git_remote_away") == before + 1


async def test_a_parked_job_counts_and_is_shown_by_its_state(
    database: Database, cluster: Cluster, tmp_path: Path
) -> None:
    for _ in range(2):
        box_id, _ = await bought(database)
        async with database.transaction() as session:
            await lifecycle.condemn(session, await boxes.get(session, box_id), Why("stripe"))
    before, allowed = shown("git_failures_total", error="cap_reached"), CapSettings(cap_endings_a_batch=1)
    await provisioning.write_commits(
        database, repository(remotes.create(tmp_path / "remote.git")), cluster, allowed=allowed
    )
    async with database.transaction() as session:
        await health.observe(session)
    assert shown("git_failures_total", error="cap_reached") == before + 1
    assert shown("jobs", state="needs_approval") == 1
