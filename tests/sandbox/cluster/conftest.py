"""A running cluster for the tests that only add boxes to it, and a fresh one for those that end it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.cluster.running import Cluster


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """One cluster for the whole package; every test brings boxes of its own."""
    yield from _cluster()


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster that the test may stop and kill."""
    yield from _cluster()


def _cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="openclaw-cluster-"))
    folder.chmod(0o755)  # the containers' account has to reach it
    made = Cluster(folder)
    yield made
    if made.process.poll() is None:
        made.stop()
    print(made.log.read_text()[-5000:])  # pytest shows it when a test failed
    made.secrets.server.shutdown()
    made.secrets.server.server_close()
    shutil.rmtree(folder, ignore_errors=True)
