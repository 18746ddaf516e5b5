"""How long it took to be well again after each fault, and what was counted, told once at the end of the run."""

from __future__ import annotations

import json
import os
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

_SECONDS: dict[str, list[float]] = {}
_COUNTS: dict[str, Counter[str]] = {}
_HEARD: list[str] = []


def recovered(fault: str, seconds: float) -> None:
    """Note one recovery."""
    _SECONDS.setdefault(fault, []).append(seconds)


def counted(what: str, counts: Mapping[str, int]) -> None:
    """Add to what was counted, by kind."""
    _COUNTS.setdefault(what, Counter()).update(counts)


def heard(lines: Sequence[str]) -> None:
    """Take in what another process of the run has to tell."""
    _HEARD.extend(lines)


def lines() -> list[str]:
    """A line for each fault (how often, median and worst in seconds) and for each count.

    Also as JSON into the file that ``FAULTS_JSON`` names, if any: the faults by name, and ``counts``.
    """
    table = {
        fault: {"times": len(took), "median": round(statistics.median(took), 2), "worst": round(max(took), 2)}
        for fault, took in _SECONDS.items()
    }
    if table and (target := os.environ.get("FAULTS_JSON")):
        Path(target).write_text(json.dumps(table | {"counts": _COUNTS}, indent=1))
    told = [f"{fault:46} {t['times']:4} times  median {t['median']:6.2f} s  worst {t['worst']:6.2f} s"
            for fault, t in table.items()]  # fmt: skip
    told += [f"{what:46} {n:4} {kind}" for what, counts in _COUNTS.items() for kind, n in sorted(counts.items())]
    return told + _HEARD
