"""How long it took to be well again after each fault, told once at the end of the run."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path

_SECONDS: dict[str, list[float]] = {}


def recovered(fault: str, seconds: float) -> None:
    """Note one recovery."""
    _SECONDS.setdefault(fault, []).append(seconds)


def lines() -> list[str]:
    """One line a fault: how often, median and worst in seconds; also into ``FAULTS_JSON`` if that names a file."""
    table = {
        fault: {"times": len(took), "median": round(statistics.median(took), 2), "worst": round(max(took), 2)}
        for fault, took in _SECONDS.items()
    }
    if target := os.environ.get("FAULTS_JSON"):
        Path(target).write_text(json.dumps(table, indent=1))
    return [f"{fault:46} {t['times']:4} times  median {t['median']:6.2f} s  worst {t['worst']:6.2f} s"
            for fault, t in table.items()]  # fmt: skip
