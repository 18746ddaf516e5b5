"""The chart's files that are made from our types, and what the schema refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import helm_python
import pytest

from controller.gitops import chart, manifests
from controller.gitops.chart import ChartValues
from tests.charts.boxes import CHART, LOCALES, NICHES, bootstrap_files, one, render, values


@pytest.mark.parametrize("path", list(chart.files()), ids=lambda path: path.name)
def test_the_committed_file_is_what_our_types_say(path: Path) -> None:
    assert path.read_bytes() == chart.files()[path], "stale: run make generate"


def test_writing_makes_the_files_that_are_committed(tmp_path: Path) -> None:
    chart.write(tmp_path)
    names = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert names == {"values.schema.json", "values.yaml", "files/plans.yaml"}


def test_the_types_and_helm_accept_the_same_values() -> None:
    given = values(cell={"browser_url": "wss://b.example", "storage_class": "fast", "runtime_class": "gvisor"})
    assert ChartValues.model_validate(given).cell.storage_class == "fast"
    objects = render(given)
    assert one(objects, "PersistentVolumeClaim")["spec"]["storageClassName"] == "fast"
    assert one(objects, "Deployment")["spec"]["template"]["spec"]["runtimeClassName"] == "gvisor"


def test_a_manifest_as_git_has_it_is_values_for_the_chart() -> None:
    given = values()
    content = manifests.create(given["metadata"]["id"], given["metadata"]["customer"], given["spec"])
    written = manifests.read(content).model_dump(mode="json")
    assert render(written | {"cell": given["cell"]}) == render(given)


WRONG: dict[str, dict[str, Any]] = {
    "an unknown key at the top": values() | {"extra": 1},
    "an unknown key in the spec": values(sate="active"),
    "an unknown key in the cell": values(cell={"colour": "red"}),
    "an unknown override": values(overrides={"gpu": 1}),
    "a state that there is not": values(state="paused"),
    "a plan that we do not sell": values(plan="gold"),
    "an id that is a path": values() | {"metadata": {"id": "../../etc", "customer": "1" * 26}},
    "an image by tag": values(cell={"image": "registry.example/box:latest"}),
    "a URL with a quote": values(cell={"api_url": 'http://a"b'}),
    "no cell": {key: part for key, part in values().items() if key != "cell"},
}


@pytest.mark.parametrize("fault", WRONG)
def test_helm_and_the_types_refuse(fault: str) -> None:
    with pytest.raises(helm_python.HelmValuesError):
        render(WRONG[fault])
    with pytest.raises(ValueError, match="validation error"):
        ChartValues.model_validate(WRONG[fault])


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("niche", NICHES)
def test_bootstrap_texts_fit_the_gateways_prompt_and_name_the_agent(niche: str, locale: str) -> None:
    texts = {name: file.read_text() for name, file in bootstrap_files(niche, locale).items()}
    assert set(texts) == {"SOUL.md", "TOOLS.md", "IDENTITY.md", "CONNECTIONS.md"}
    assert all(200 < len(text) < 20_000 for text in texts.values())
    assert "{{agent_name}}" in texts["SOUL.md"]
    assert "{{agent_name}}" in texts["IDENTITY.md"]


def test_the_packaged_chart_leaves_out_what_only_the_image_needs() -> None:
    with helm_python.Chart.load(CHART) as loaded:
        names = {file["name"] for file in loaded.files}
        assert (loaded.name, loaded.version) == ("box", "2026.11.1")
    assert not any(name.startswith(("image/", "files/commands/")) or name.endswith(".mjs") for name in names)
