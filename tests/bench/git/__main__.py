"""``make bench-git``: what a commit and a push cost from 100 to 50 000 boxes, beside GitPython's own ways.

All sizes and ways take turns, so that whatever else the machine does falls on each of them alike. Remotes are local;
no test asserts a time. ``ARGS="--boxes 100,1000 --batches 20 --json FILE"`` for a short run.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from controller.core import clock
from tests.bench.git import worlds
from tests.bench.git.ways import Index, Porcelain, Took, Way, Writer
from tests.gitops import remotes

BATCH = 50
Key = tuple[str, int, int]


def main(
    boxes: Annotated[str, typer.Option(help="How many boxes, from small to large.")] = "100,1000,10000,50000",
    rounds: Annotated[int, typer.Option(min=1, help="Pushes of each kind that are measured.")] = 7,
    batches: Annotated[int, typer.Option(min=0, help="Pushes before the largest is measured once more.")] = 1000,
    batch_jobs: Annotated[int, typer.Option(min=1, help="Jobs in each of them.")] = 5,
    out: Annotated[Path | None, typer.Option("--json", help="Where the numbers go.")] = None,
) -> None:
    """Measure, print and write down."""
    sizes = [int(size) for size in boxes.split(",")]
    with tempfile.TemporaryDirectory(prefix="bench-git-") as folder:
        made = {size: _ways(size, Path(folder) / str(size)) for size in sizes}
        took = _take_turns(made, rounds)
        results = _summary(took, sizes)
        _write(out, rounds, results)
        for more in _after_batches(made, sizes, rounds, batches, batch_jobs):
            results |= more
            _write(out, rounds, results)
    for name, value in results.items():
        typer.echo(f"{name:44} {value:10.2f}")


def _write(out: Path | None, rounds: int, results: dict[str, float]) -> None:
    if out:
        told = {"results": results, "rounds": rounds, "machine": _machine()}
        out.write_text(json.dumps(told, indent=1) + "\n")


def _ways(size: int, folder: Path) -> list[Way]:
    typer.echo(f"# {clock.now():%H:%M:%S} {size} boxes", err=True)
    world = worlds.create(size, folder)
    return [Writer(world), Porcelain(world), Index(world)]


def _take_turns(made: dict[int, list[Way]], rounds: int) -> dict[Key, list[Took]]:
    took: dict[Key, list[Took]] = {}
    for number in range(rounds + 1):
        typer.echo(f"# {clock.now():%H:%M:%S} round {number}", err=True)
        for jobs in (1, BATCH):
            for size, ways in made.items():
                for way in ways:
                    seen = way.land(jobs)
                    if number:  # the first finds cold caches
                        took.setdefault((way.name, size, jobs), []).append(seen)
                    if isinstance(way, Writer):
                        way.tidy()
    return took


def _summary(took: dict[Key, list[Took]], sizes: list[int]) -> dict[str, float]:
    results: dict[str, float] = {}
    for (name, size, jobs), seen in took.items():
        form = "batched" if jobs > 1 else "single"
        whole = statistics.median(one.all for one in seen)
        results[f"{name}_commit_ms_{form}_{size}"] = statistics.median(one.commit for one in seen)
        results[f"{name}_push_ms_{form}_{size}"] = statistics.median(one.push for one in seen)
        results[f"{name}_jobs_per_s_{form}_{size}"] = jobs * 1000 / whole
        if name == Writer.name:
            results[f"jobs_per_s_{form}_{size}"] = jobs * 1000 / whole
            yaml = statistics.median(one.yaml for one in seen)
            results[f"yaml_ms_{form}_{size}"] = yaml
            results[f"cpu_ms_{form}_{size}"] = statistics.median(one.cpu for one in seen)
            results[f"yaml_share_{form}_{size}"] = yaml / whole
    return results | _growth(took[Writer.name, sizes[-1], 1], took[Writer.name, sizes[0], 1], sizes, "")


def _growth(large: list[Took], small: list[Took], sizes: list[int], when: str) -> dict[str, float]:
    about = f"growth_{sizes[-1]}_vs_{sizes[0]}{when}"
    commit = [statistics.median(one.commit for one in seen) for seen in (large, small)]
    push = [statistics.median(one.push for one in seen) for seen in (large, small)]
    return {f"commit_{about}": commit[0] / commit[1], f"push_{about}": push[0] / push[1]}


def _after_batches(
    made: dict[int, list[Way]], sizes: list[int], rounds: int, batches: int, jobs: int
) -> Iterator[dict[str, float]]:
    """The largest world's writer once more, beside the smallest's, after every hundred pushes from the same clone."""
    small, large = made[sizes[0]][0], made[sizes[-1]][0]
    assert isinstance(small, Writer)
    assert isinstance(large, Writer)
    tidied = []
    for number in range(1, batches + 1):
        large.land(jobs)
        tidied.append(large.tidy())
        if number % 100 == 0 or number == batches:
            typer.echo(f"# {clock.now():%H:%M:%S} {number} batches", err=True)
            pairs = [(small.land(1), large.land(1)) for _ in range(rounds)]
            when = f"_after_{number}_batches"
            growth = _growth([pair[1] for pair in pairs], [pair[0] for pair in pairs], sizes, when)
            yield growth | {"tidy_ms_longest": max(tidied), "tidy_ms_mean": statistics.mean(tidied)}


def _machine() -> dict[str, object]:
    git = remotes.git(Path.cwd(), "version")
    return {"cpus": os.cpu_count(), "load": os.getloadavg(), "python": platform.python_version(), "git": git}


if __name__ == "__main__":
    typer.run(main)
