"""What the tests of the git writer's two halves share."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core.db import Database
from controller.gitops.repository import GitSettings, Repository
from tests import factories
from tests.gitops import remotes
from tests.proxy.conftest import bought
from tests.workers.ops import Ops
from tests.workers.test_provisioning import KUBECONFIG


@pytest.fixture
async def ops(database: Database, tmp_path: Path) -> Ops:
    """A box at rev 1 in Git and Postgres, on plan pro; everything up to it is read."""
    remote = remotes.create(tmp_path / "remote.git")
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    box_id, _ = await bought(database)
    made = Ops(
        database,
        remote,
        Repository(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "clone.git")),
        Cluster(ClusterSettings(kubeconfig=tmp_path / "kubeconfig")),
        factories.mint(),
        box_id,
    )
    await made.write()
    await made.look()
    return made
