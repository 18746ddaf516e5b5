"""The benchmark of the proxy runs and names its numbers; what they are is no test's business."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.proxy import bodies, figures, others, runs
from tests.bench.proxy.__main__ import QUICK, main
from tests.bench.proxy.runs import Told
from tests.bench.proxy.targets import Bench, Unavailable


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the shortest run writes down."""
    out = tmp_path_factory.mktemp("bench") / "results.json"
    main(quick=True, out=out, only="ours,aiohttp,nothing")
    read: Told = json.loads(out.read_text())
    return read


@pytest.mark.parametrize(
    "name",
    [
        "cpu_request_small_vs_aiohttp",
        "cpu_request_big_vs_aiohttp",
        "cpu_chunk_vs_aiohttp",
        "ttft_added_p50_vs_aiohttp",
        "ttft_added_p50_big_vs_aiohttp",
    ],
)
def test_a_short_run_names_every_ratio(told: Told, name: str) -> None:
    assert isinstance(told["ratios"][name], float)


@pytest.mark.parametrize("target", ["ours", "aiohttp"])
def test_nothing_fails_and_every_stream_ends(told: Told, target: str) -> None:
    seen = told["targets"][target]
    assert (seen["small_failed"], seen["big_failed"], seen["storm_share_finished"]) == (0, 0, 1)


def test_what_cannot_be_had_is_skipped_with_a_sentence(told: Told) -> None:
    assert told["skipped"] == {"nothing": "There is no target of this name; there are " + ", ".join(_NAMES) + "."}


async def test_a_run_that_fails_says_why_and_keeps_its_figures(tmp_path: Path) -> None:
    told = await runs.measure(Bench(tmp_path, tmp_path), ["aiohttp"], replace(QUICK, seconds=0.0))
    assert told["failed"]
    assert told["targets"]["aiohttp"]["idle_mb"] > 0


def test_a_gateway_that_cannot_be_installed_says_so(tmp_path: Path) -> None:
    (tmp_path / "litellm").write_text("in the way")
    with pytest.raises(Unavailable, match="LiteLLM could not be installed here"):
        others.LiteLLM(Bench(tmp_path, tmp_path)).command(1)


def test_added_time_is_compared_above_the_mocks_own() -> None:
    told = {"direct": {"first_ms_small": 1.0}, "ours": {"first_ms_small": 5.0}, "nginx": {"first_ms_small": 3.0}}
    assert figures.ratios(told) == {"ttft_added_p50_vs_nginx": 2.0}


def test_the_big_body_is_as_long_as_it_is_said_to_be() -> None:
    assert abs(len(bodies.big(bodies.ONE)) - bodies.BIG_BYTES) < 10


_NAMES = ("nginx", "aiohttp", "ours", "portkey", "pi", "litellm")
