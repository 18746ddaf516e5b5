"""One cell for all tests here, on the cluster that ``KUBECONFIG`` names; without the asking every test is skipped."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from controller.core import ids
from controller.sandbox import accounts
from controller.sandbox.postgres import Postgres
from tests.cluster import asking
from tests.cluster.kube import ARGO, Kube
from tests.cluster.world import World, clean
from tests.conftest import TEMPLATE


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """The cell, empty at first; every box of the cluster is deleted before and after."""
    if reason := asking.refusal():
        pytest.skip(reason)
    kubeconfig = Path(os.environ[asking.KUBECONFIG])
    kube = Kube(kubeconfig)
    asking.check_marked(kube.find("Namespace", ARGO))
    clean(kube)
    folder = Path(tempfile.mkdtemp(prefix="openclaw-cluster-"))
    postgres, runner = request.getfixturevalue("postgres"), request.getfixturevalue("runner")
    dsn = runner.run(_database(postgres))
    made = World(kubeconfig, folder, dsn, request.getfixturevalue("queue_server").url)
    yield made
    made.close()
    clean(kube)
    accounts.remove(folder)


@pytest.fixture(scope="session")
def box(world: World) -> str:
    """A box that runs, for tests that leave it as it was."""
    return world.live()


async def _database(postgres: Postgres) -> str:
    name = f"cluster_{ids.new()}"
    admin = await asyncpg.connect(postgres.dsn())
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    await admin.close()
    return postgres.dsn(name)
