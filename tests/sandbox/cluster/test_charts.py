"""The stand-in for the Helm repository: what is published beside the bundled chart, and what is not (yet) one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from controller.sandbox.cluster import api
from controller.sandbox.cluster.render import Charts, RenderError
from controller.sandbox.cluster.store import Store
from tests.sandbox.cluster.running import HERE

OLD, NEW = "2026.11.1", "2026.12.1"


@pytest.fixture
def charts(tmp_path: Path) -> Charts:
    return Charts(HERE / "chart", tmp_path)


def publish(folder: Path, release: str) -> Path:
    chart = folder / release
    shutil.copytree(HERE / "chart", chart)
    text = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(text.replace(OLD, release))
    return chart


def source(release: object) -> dict[str, Any]:
    values = {"metadata": {"id": "a"}, "spec": {"rev": 1, "state": "active"}, "overrides": {}}
    return {"targetRevision": release, "helm": {"releaseName": "agent", "valuesObject": values}}


def test_a_release_is_there_once_it_is_published(charts: Charts, tmp_path: Path) -> None:
    assert charts.releases() == [OLD]
    publish(tmp_path, NEW)
    assert charts.releases() == [OLD, NEW]
    assert [len(charts.render("a", source(release))) for release in (OLD, NEW)] == [5, 5]


@pytest.mark.parametrize("release", [NEW, "", None, 7, ["x"]], ids=str)
def test_what_is_not_published_does_not_render(charts: Charts, release: object) -> None:
    with pytest.raises(RenderError) as refused:
        charts.render("a", source(release))
    assert refused.value.code == "chart_version_unknown"


def test_what_is_published_does_not_change(charts: Charts, tmp_path: Path) -> None:
    template = publish(tmp_path, NEW) / "templates/box.yaml"
    charts.releases()
    template.write_text('{{ fail "changed" }}')
    assert len(charts.render("a", source(NEW))) == 5


def test_a_chart_that_is_half_there_is_none_until_it_is_whole(charts: Charts, tmp_path: Path) -> None:
    chart = tmp_path / NEW
    chart.mkdir()
    (chart / "Chart.yaml").write_text(f"version: {NEW}\n")
    assert charts.releases() == [OLD]
    shutil.rmtree(chart)
    publish(tmp_path, NEW)
    assert charts.releases() == [OLD, NEW]


def test_the_index_lists_them_as_helm_does(charts: Charts, tmp_path: Path) -> None:
    publish(tmp_path, NEW)
    store = Store(tmp_path / "objects.sqlite")
    with TestClient(api.app(store, api.Parts(charts=charts))) as http:
        index = http.get(f"{api.CHARTS}/index.yaml")
    store.close()
    assert index.status_code == httpx.codes.OK
    assert [entry["version"] for entry in index.json()["entries"]["box"]] == [OLD, NEW]
