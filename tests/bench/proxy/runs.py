"""One run: everything started, all targets in turn, everything ended."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypedDict

from controller.core import clock
from controller.sandbox.processes import StartError
from tests.bench.proxy import bodies, cells, figures, others
from tests.bench.proxy.cells import Size
from tests.bench.proxy.figures import Figures, Seen
from tests.bench.proxy.others import Aiohttp, Direct
from tests.bench.proxy.ours import Ours, Stores
from tests.bench.proxy.targets import Bench, Target, Unavailable

ALL = ("nginx", Aiohttp.name, Ours.name, "portkey", "pi", "litellm")
SMALL_LANES, BIG_LANES = 32, 8


class Told(TypedDict):
    """What a run says."""

    ratios: Figures
    targets: dict[str, Figures]
    skipped: dict[str, str]
    machine: dict[str, object]
    failed: str
    """What ended the run before its time; empty where nothing did."""


async def measure(bench: Bench, names: Sequence[str], size: Size) -> Told:
    """The figures of those named, and of the mock behind all of them: as many as there were, if it failed halfway."""
    run, failed = Run(bench, size), ""
    try:
        with bench.beside():
            await run.through(names)
    except Exception as error:  # whatever it was, minutes of figures are not lost by it
        failed = repr(error)
    medians = run.seen.medians()
    machine: dict[str, object] = {"cpus": os.cpu_count(), "load": os.getloadavg(), "python": platform.python_version()}
    return {
        "ratios": figures.ratios(medians),
        "targets": medians,
        "skipped": run.skipped,
        "machine": machine,
        "failed": failed,
    }


class Run:
    """What is up, and what it showed so far."""

    def __init__(self, bench: Bench, size: Size) -> None:
        self.seen = Seen()
        self.skipped: dict[str, str] = {}
        self._bench = bench
        self._size = size
        self._stores = Stores(bench, size.boxes)
        self._direct = Direct(bench)
        self._singles: list[Target] = []
        self._pairs: list[Target] = []
        """Those of two processes, which take part in the small calls alone."""

    async def through(self, names: Sequence[str]) -> None:
        """All of it, and nothing runs any more, however it went."""
        try:
            await self.begin(names)
            await self.take_turns()
        finally:
            await self.end()

    async def begin(self, names: Sequence[str]) -> None:
        """All that can be had is up and warm."""
        await self._direct.start()
        if Ours.name in names:
            await self._stores.start()
        for name in names:
            if (target := self._made(name, 1)) is not None:
                await self._try(target, self._singles)
        if self._size.rounds > 1:
            for name in {Ours.name, Aiohttp.name} & set(names):
                if (target := self._made(name, 2)) is not None:
                    await self._try(target, self._pairs)

    async def take_turns(self) -> None:
        """Storms first, while no heap has grown; then round by round."""
        for target in self._singles:
            await self._cell("storm", target, lambda one: cells.storm(one, self._size))
        for number in range(self._size.rounds):
            _say(f"round {number + 1}")
            await self._round()
        for form, body in {"small": bodies.small(bodies.ONE), "big": bodies.big(bodies.ONE)}.items():
            took = await cells.first_bytes([self._direct, *self._singles], body, self._size.probes)
            for name, values in took.items():
                self.seen.extend(name, f"first_ms_{form}", values)

    async def end(self) -> None:
        """Nothing of it runs any more."""
        for target in [*self._pairs, *self._singles, self._direct]:
            await target.stop()
        await self._stores.stop()

    async def _round(self) -> None:
        everyone, seconds = [self._direct, *self._singles], self._size.seconds
        small, big = bodies.small(), bodies.big()
        for target in [*everyone, *self._pairs]:
            stores = self._stores.cpu_seconds() if target.name == Ours.name else 0.0
            told = await self._cell("small", target, lambda one: cells.requests(one, small, SMALL_LANES, seconds))
            if target.name == Ours.name:
                stores = (self._stores.cpu_seconds() - stores) * 1000 / max(1.0, told["rps"] * seconds)
                self.seen.add(target.label, "small", {"stores_cpu_ms": stores})
        for target in everyone:
            await self._cell("big", target, lambda one: cells.requests(one, big, BIG_LANES, seconds))
        for target in everyone:
            await self._cell("chunks", target, lambda one: cells.chunks(one, self._size.streams, seconds))

    async def _cell(self, name: str, target: Target, cell: Callable[[Target], Awaitable[Figures]]) -> Figures:
        told = await cell(target)
        self.seen.add(target.label, name, told)
        return told

    async def _try(self, target: Target, kept: list[Target]) -> None:
        _say(f"start {target.label}")
        try:
            await target.start()
            await cells.warm(target)
        except (Unavailable, StartError) as error:
            await target.stop()
            self.skipped[target.label] = str(error)
            return
        kept.append(target)
        self.seen.add(target.label, "idle", {"mb": target.rss_bytes() / 1e6})

    def _made(self, name: str, processes: int) -> Target | None:
        if name == Ours.name:
            return Ours(self._bench, self._stores, processes)
        kind = next((kind for kind in others.OTHERS if kind.name == name), None)
        if kind is None:
            self.skipped[name] = f"There is no target of this name; there are {', '.join(ALL)}."
            return None
        return kind(self._bench, processes)


def _say(what: str) -> None:
    print(f"# {clock.now():%H:%M:%S} {what}", file=sys.stderr, flush=True)
