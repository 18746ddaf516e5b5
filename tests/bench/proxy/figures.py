"""From what the cells saw to what is told: medians over the rounds, and ratios within one run."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

OURS, YARDSTICK, DIRECT = "ours", "aiohttp", "direct"
Figures = dict[str, float]
_LEAST_MS = 0.001
"""Added time below which nothing was added that could be measured."""


class Seen:
    """Every figure of every target, round by round."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, list[float]]] = {}

    def add(self, target: str, prefix: str, figures: Mapping[str, float]) -> None:
        """One cell's figures, each named ``<prefix>_<figure>``."""
        kept = self._seen.setdefault(target, {})
        for name, value in figures.items():
            kept.setdefault(f"{prefix}_{name}", []).append(value)

    def extend(self, target: str, name: str, values: Iterable[float]) -> None:
        """More values of one figure."""
        self._seen.setdefault(target, {}).setdefault(name, []).extend(values)

    def medians(self) -> dict[str, Figures]:
        """By target, and within it by figure."""
        return {
            target: {name: statistics.median(values) for name, values in sorted(figures.items()) if values}
            for target, figures in self._seen.items()
        }


def ratios(told: Mapping[str, Figures]) -> Figures:
    """Ours against each of the others: below 1 is cheaper, or sooner."""
    if OURS not in told:
        return {}
    made: Figures = {}
    ours = told[OURS]
    for other, theirs in told.items():
        if other in (OURS, DIRECT) or other.endswith("_2"):
            continue
        pairs = {"cpu_request_small": "small_cpu_ms", "cpu_request_big": "big_cpu_ms", "cpu_chunk": "chunks_cpu_us"}
        for name, figure in pairs.items():
            _divide(made, f"{name}_vs_{other}", ours.get(figure), theirs.get(figure))
        for name, figure in {"ttft_added_p50": "first_ms_small", "ttft_added_p50_big": "first_ms_big"}.items():
            base = told.get(DIRECT, {}).get(figure, 0.0)
            _divide(made, f"{name}_vs_{other}", _above(ours, figure, base), _above(theirs, figure, base))
    for name in (OURS, YARDSTICK):
        both = told.get(f"{name}_2", {}).get("small_rps"), told.get(name, {}).get("small_rps")
        _divide(made, f"rps_2_processes_vs_1_{name}", *both)
    return dict(sorted(made.items()))


def _above(figures: Figures, name: str, base: float) -> float | None:
    return max(_LEAST_MS, figures[name] - base) if name in figures else None


def _divide(made: Figures, name: str, ours: float | None, theirs: float | None) -> None:
    """Nothing where one of them was not measured, or was too small to be divided by."""
    if ours is not None and theirs is not None and theirs > 0:
        made[name] = ours / theirs
