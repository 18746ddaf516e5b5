"""``make bench-proxy``: what a call, a chunk and an open stream cost our proxy, beside others in front of one mock.

CPU is what the kernel says that a proxy's processes took; a single process has a core that the mock, the stores and the
clients leave alone. Figures of one run compare with one another and with no other run's; no test asserts one.
``ARGS="--quick"``: seconds, against bare aiohttp alone; ``--only ours,aiohttp,litellm``; ``--json FILE``.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from controller.sandbox import accounts
from tests.bench.proxy import runs
from tests.bench.proxy.cells import Size
from tests.bench.proxy.runs import ALL, Told
from tests.bench.proxy.targets import Bench

FULL = Size(rounds=3, seconds=3.0, probes=100, streams=50, open_streams=1000, storm_chunks=40, boxes=20)
QUICK = Size(rounds=1, seconds=0.5, probes=5, streams=5, open_streams=20, storm_chunks=4, boxes=2)
COLUMNS = (
    ("small ms", "small_cpu_ms"), ("rps", "small_rps"), ("big ms", "big_cpu_ms"), ("chunk us", "chunks_cpu_us"),
    ("ttft ms", "first_ms_small"), ("ttft big", "first_ms_big"), ("idle MB", "idle_mb"), ("ended", "storm_finished"),
    ("first p99", "storm_first_ms_p99"), ("late p99", "storm_late_ms_p99"), ("kB/stream", "storm_kb_per_stream"),
)  # fmt: skip


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Seconds, against bare aiohttp alone.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="Where the numbers go.")] = None,
    only: Annotated[str, typer.Option(help="These alone, of " + ", ".join(ALL))] = "",
    rounds: Annotated[int, typer.Option(min=0, help="In each of them all take turns; 0: as many as usual.")] = 0,
    installed: Annotated[Path, typer.Option("--others", help="Where others' gateways are, or are installed.")] = Path(
        "~/.cache/openclaw-cloud/bench-proxy"
    ),
) -> None:
    """Measure, print and write down."""
    size = QUICK if quick else FULL
    size = replace(size, rounds=rounds or size.rounds)
    names = only.split(",") if only else ["ours", "aiohttp"] if quick else list(ALL)
    folder = Path(tempfile.mkdtemp(prefix="bench-proxy-"))
    try:
        told = asyncio.run(runs.measure(Bench(folder, installed.expanduser()), names, size))
    finally:
        accounts.remove(folder)
    if out:
        out.write_text(json.dumps(told, indent=1) + "\n")
    for line in _lines(told):
        typer.echo(line)
    if told["failed"]:
        typer.echo(f"ended before its time: {told['failed']}", err=True)
        raise typer.Exit(1)


def _lines(told: Told) -> Sequence[str]:
    """What a person reads: a row a target, a line a ratio, and why something is not there."""
    width = max((len(name) for name in told["targets"]), default=0)
    lines = [" ".join([" " * width, *(f"{title:>10}" for title, _ in COLUMNS)])]
    for name, seen in told["targets"].items():
        cells = (f"{seen[figure]:10.3f}" if figure in seen else f"{'-':>10}" for _, figure in COLUMNS)
        lines.append(" ".join([f"{name:{width}}", *cells]))
    lines += [f"{name:44} {value:10.4f}" for name, value in told["ratios"].items()]
    return [*lines, *(f"{name}: {reason}" for name, reason in told["skipped"].items())]


if __name__ == "__main__":
    typer.run(main)
