"""The chart repository of a developer's cluster: published when its sources change, and only then."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest
import yaml

from controller.devcluster import charts
from tests.devcluster.machines import Machine

ROOT = Path(__file__).resolve().parents[2]
SPACE = "openclaw-cloud"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree of one's own."""
    for chart in charts.RELEASED:
        shutil.copytree(ROOT / chart, tmp_path / "tree" / chart)
    return tmp_path / "tree"


def published(machine: Machine) -> dict[str, str]:
    data = machine.world("objects")[f"configmap/{SPACE}/charts"]["binaryData"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def test_every_chart_that_argo_cd_pulls_is_published_with_an_index(machine: Machine, root: Path) -> None:
    assert charts.publish(machine.tools, root, SPACE).is_new
    assert published(machine) == {
        "box-1.0.0.tgz": "box",
        "cell-1.0.0.tgz": "cell",
        "index.yaml": charts.URL,
        "platform-1.0.0.tgz": "platform",
    }


def test_what_has_not_changed_is_not_packaged_again(machine: Machine, root: Path) -> None:
    first = charts.publish(machine.tools, root, SPACE)
    machine.told()
    assert charts.publish(machine.tools, root, SPACE) == charts.Release(first.source, is_new=False)
    assert [line.split()[:2] for line in machine.commands()] == [["kubectl", "get"]]


@pytest.mark.parametrize("chart", charts.RELEASED)
def test_a_change_of_any_file_is_published(machine: Machine, root: Path, chart: str) -> None:
    first = charts.publish(machine.tools, root, SPACE)
    (root / chart / "templates/new.yaml").write_text("")
    second = charts.publish(machine.tools, root, SPACE)
    assert second.is_new
    assert second.source != first.source


def test_argo_cd_looks_for_them_where_they_are() -> None:
    cell, platform = (
        yaml.safe_load((ROOT / "argocd" / name / "local.yaml").read_text()) for name in ("cells", "platforms")
    )
    assert cell["charts"]["url"] == platform["charts"]["url"] == charts.URL
