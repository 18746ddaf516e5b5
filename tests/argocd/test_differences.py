"""In what a developer's cluster differs from production: the cell, and the installation of Argo CD."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.argocd import cells
from tests.argocd.cells import ROOT, Object
from tests.argocd.test_platform import leaves
from tests.argocd.test_settings import installation

OF_CELLS = {
    "cell.exec",
    "cell.image",
    "cell.name",
    "cell.runtime_class",
    "cell.snapshot_class",
    "cell.storage_class",
    "cell.telegram_api_url",
    "charts.url",
    "git.url",
    "poll_seconds",
    "registry",
    "secrets.ca.key",
    "secrets.ca.name",
    "secrets.ca.namespace",
    "secrets.url",
}
INSTALLATIONS = ("eu1", "local")


def test_only_what_has_to_differ_differs_between_cells() -> None:
    one, other = (leaves(cells.values(name)) for name in ("eu1-a", "local"))
    assert {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)} <= OF_CELLS


def test_every_cell_is_made_of_the_same_objects() -> None:
    made = [
        {(one["kind"], one["metadata"]["name"]) for one in cells.render(cells.values(name))} for name in cells.CELLS
    ]
    assert all(found == made[0] for found in made)


def kustomization(name: str) -> Object:
    found: Object = yaml.safe_load((ROOT / "installations" / name / "kustomization.yaml").read_text())
    return found


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_an_installation_is_of_the_version_that_the_settings_are_for(name: str) -> None:
    meant = re.search(r"Argo CD (\d+\.\d+\.\d+)", (ROOT / "settings/kustomization.yaml").read_text())
    (resource,) = kustomization(name)["resources"]
    assert meant is not None
    assert f"/argo-cd/v{meant[1]}/manifests/" in resource


def test_a_developers_installation_is_the_plain_one_with_one_repo_server_and_a_password() -> None:
    one, other = map(kustomization, INSTALLATIONS)
    assert other.pop("replicas") == [{"name": "argocd-repo-server", "count": 1}]
    (patch,) = other.pop("patches")
    assert yaml.safe_load(patch["patch"])["data"] == {"admin.enabled": "true"}
    assert other["resources"] == [one["resources"][0].replace("/ha/", "/")]
    assert one | other == other | {"resources": other["resources"]}


def built(name: str, folder: Path) -> dict[str, Object]:
    """The installation as kubectl makes it, over an Argo CD of which only the names are there."""
    shutil.copytree(ROOT, folder / "argocd")
    (folder / "argocd/installations" / name / "install.yaml").write_text(yaml.safe_dump_all(installation()))
    file = folder / "argocd/installations" / name / "kustomization.yaml"
    file.write_text(yaml.safe_dump(kustomization(name) | {"resources": ["install.yaml"]}))
    kubectl = Path(sys.executable).parent / "kubectl"
    out = subprocess.run([kubectl, "kustomize", file.parent], capture_output=True, check=True).stdout
    return {one["metadata"]["name"]: one for one in yaml.safe_load_all(out)}


@pytest.mark.parametrize(("name", "password", "servers"), [("eu1", "false", 3), ("local", "true", 1)])
def test_kubectl_lays_our_settings_over_it(name: str, password: str, servers: int, tmp_path: Path) -> None:
    made = built(name, tmp_path)
    assert made["argocd-cm"]["data"]["admin.enabled"] == password
    assert made["argocd-cm"]["data"]["timeout.reconciliation"] == "900s"
    assert made["argocd-repo-server"]["spec"]["replicas"] == servers
