"""One measurement of one target each. All targets take turns, so that whatever else the machine does falls on all."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.proxy import bodies, load
from tests.bench.proxy.figures import Figures
from tests.bench.proxy.load import Broken, Lane
from tests.bench.proxy.targets import TICK, Target, Unavailable

SETTLE_SECONDS = 0.1
"""After the last answer, so that what a proxy still has to write down counts as well."""

STORM_EVERY, STORM_FIRST = 0.2, 0.2
STORM_PATIENCE = 25.0
"""In which all streams of a storm must have ended; undisturbed they take 8 s."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    seconds: float
    probes: int
    streams: int
    open_streams: int
    storm_chunks: int
    boxes: int


async def warm(target: Target) -> None:
    """Every token was shown, and one stream went through. Raises Unavailable."""
    lane = await Lane.open(target.ports[0])
    for asked in (*target.requests(bodies.small()), *target.requests(bodies.small(bodies.ONE))[:1]):
        answer = await lane.ask(asked)
        if answer.status != 200:
            raise Unavailable(f"{target.label} answered {answer.status}: {answer.said.decode(errors='replace')}")
    lane.close()
    if not answer.late:
        raise Unavailable(f"{target.label} streamed nothing of what the mock said.")


async def requests(target: Target, body: bytes, lanes: int, seconds: float) -> Figures:
    """CPU a request and requests a second, with ``lanes`` clients that never pause."""
    asked, before = target.requests(body), target.cpu_seconds()
    counted = await load.closed(target.ports, asked, lanes, seconds)
    await asyncio.sleep(SETTLE_SECONDS)
    cpu = max(TICK, target.cpu_seconds() - before)
    answers = max(1, counted.answers)
    return {"cpu_ms": cpu * 1000 / answers, "rps": counted.answers / counted.seconds, "failed": counted.failed}


async def chunks(target: Target, count: int, seconds: float) -> Figures:
    """CPU a chunk of ``count`` streams of 50 chunks a second, over ``seconds`` in which none begins or ends."""
    every = 0.02
    stream = bodies.paced(chunks=int((seconds + 2) / every), every=every, first=0.0)
    lanes = await load.streams(target.ports, target.requests(bodies.small(stream)), count, over=0.3)
    await asyncio.sleep(0.5)
    seen, before = _seen(lanes), target.cpu_seconds()
    await asyncio.sleep(seconds)
    arrived, cpu = _seen(lanes) - seen, max(TICK, target.cpu_seconds() - before)
    for lane in lanes:
        lane.close()
    return {"cpu_us": cpu * 1e6 / max(1, arrived), "per_s": arrived / seconds}


async def first_bytes(targets: Sequence[Target], body: bytes, probes: int) -> dict[str, list[float]]:
    """Milliseconds to the first byte of a stream, one call at a time, the targets in turn."""
    ports = {target.label: target.ports[0] for target in targets}
    lanes = {name: await Lane.open(port) for name, port in ports.items()}
    asked = {target.label: target.requests(body) for target in targets}
    took: dict[str, list[float]] = {target.label: [] for target in targets}
    for number in range(probes):
        for name, lane in lanes.items():
            try:
                answer = await lane.ask(asked[name][number % len(asked[name])])
            except Broken:  # some close a connection that was idle for seconds
                lanes[name] = await Lane.open(ports[name])
                continue
            took[name].append((answer.first_at - answer.asked_at) * 1000)
            await asyncio.sleep(0.005)
    for lane in lanes.values():
        lane.close()
    return took


async def storm(target: Target, size: Size) -> Figures:
    """``open_streams`` streams that are asked for at once: how many end, how late, and what each takes of memory."""
    stream = bodies.paced(chunks=size.storm_chunks, every=STORM_EVERY, first=STORM_FIRST)
    before = target.rss_bytes()
    lanes = await load.streams(target.ports, target.requests(bodies.small(stream)), size.open_streams, over=0)
    await asyncio.sleep(STORM_EVERY * size.storm_chunks / 2)
    memory = (target.rss_bytes() - before) / size.open_streams
    finished = await load.settled(lanes, STORM_PATIENCE)
    firsts = [(lane.answer.first_at - lane.answer.asked_at - STORM_FIRST) * 1000 for lane in lanes if lane.answer.late]
    late = [one * 1000 for lane in lanes for one in lane.answer.late[1:]]
    return {
        "finished": finished,
        "share_finished": finished / size.open_streams,
        "first_ms_p50": _quantile(firsts, 0.5),
        "first_ms_p99": _quantile(firsts, 0.99),
        "late_ms_p99": _quantile(late, 0.99),
        "kb_per_stream": memory / 1000,
    }


def _seen(lanes: Sequence[Lane]) -> int:
    return sum(len(lane.answer.late) for lane in lanes)


def _quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of them are; -1 if there are none."""
    if len(values) < 2:
        return values[0] if values else -1.0
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
