"""The benchmark of the Git writer runs and names its numbers; what they are is no test's business."""

from __future__ import annotations

import json

import pytest

from tests.bench.git.__main__ import main


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """What a run at two small sizes writes down."""
    out = tmp_path_factory.mktemp("bench") / "results.json"
    main(boxes="60,90", rounds=1, batches=2, batch_jobs=3, out=out)
    told: dict[str, dict[str, float]] = json.loads(out.read_text())
    return told["results"]


@pytest.mark.parametrize(
    "name",
    [
        "commit_growth_90_vs_60",
        "commit_growth_90_vs_60_after_2_batches",
        "push_growth_90_vs_60",
        "jobs_per_s_single_60",
        "jobs_per_s_batched_90",
        "yaml_share_batched_90",
        "cpu_ms_batched_90",
        "porcelain_jobs_per_s_batched_90",
        "index_jobs_per_s_single_60",
    ],
)
def test_a_short_run_names_every_number(results: dict[str, float], name: str) -> None:
    assert results[name] > 0
