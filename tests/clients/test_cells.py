"""Which cluster is a cell's, as the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from controller.clients import cells
from controller.clients.cells import CellUnknown
from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core.errors import Permanent
from tests.clients.test_kubernetes import add
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.serving import Served, served

NOBODY = "http://127.0.0.1:9"


def write(file: Path, **urls: str) -> Path:
    """A kubeconfig with a context for each name."""
    made = {
        "apiVersion": "v1", "kind": "Config", "current-context": next(iter(urls)),
        "users": [{"name": "u", "user": {"token": "x"}}],
        "clusters": [{"name": name, "cluster": {"server": url}} for name, url in urls.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "u"}} for name in urls],
    }  # fmt: skip
    file.write_text(yaml.safe_dump(made))
    return file


def fill(server: Served, name: str) -> None:
    server.core.create_namespace(objects.namespace("argocd"))
    add(server, name)


def listed(cluster: Cluster) -> list[str]:
    return [one["metadata"]["name"] for one in cluster.applications()[0]]


def test_each_cell_has_the_cluster_of_its_context(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with served(tmp_path / "home.sqlite") as home, served(tmp_path / "other" / "there.sqlite") as there:
        fill(home, "at-home")
        fill(there, "abroad")
        files = {
            "kubeconfig": write(tmp_path / "k", x=home.url),
            "cells_kubeconfig": write(tmp_path / "c", us=there.url),
        }
        known = cells.connect(ClusterSettings.model_validate(files), "eu")
        assert (listed(known.of("eu")), listed(known.of("us"))) == (["at-home"], ["abroad"])
        with pytest.raises(CellUnknown):
            known.of("asia")


def test_the_only_cluster_is_every_cells(tmp_path: Path) -> None:
    known = cells.connect(ClusterSettings(kubeconfig=write(tmp_path / "k", x=NOBODY)), "eu")
    assert known.of("eu") is known.of("us")


def test_a_file_that_is_no_kubeconfig_ends_the_start(tmp_path: Path) -> None:
    home, broken = write(tmp_path / "k", x=NOBODY), tmp_path / "c"
    broken.write_text("[")
    with pytest.raises(Permanent, match="kubeconfig_unusable"):
        cells.connect(ClusterSettings(kubeconfig=home, cells_kubeconfig=broken), "eu")
