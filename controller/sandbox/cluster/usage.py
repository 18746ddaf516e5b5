"""What pods and the node use, measured on the real processes: ``metrics.k8s.io``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from controller.core import clock
from controller.core.errors import NotFound
from controller.sandbox.cluster import selectors
from controller.sandbox.cluster.resources import NODE, POD, Object
from controller.sandbox.cluster.store import Store

SAMPLE_SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
VERSION = "metrics.k8s.io/v1beta1"


@dataclass(frozen=True)
class Sample:
    """CPU seconds used so far and bytes in memory, of one process tree or the whole machine."""

    at: float
    cpu_seconds: float
    memory_bytes: int


class Usage:
    """The last two samples of every pod that has a process; ``processes`` tells their pids by pod uid."""

    def __init__(self, processes: Callable[[], Mapping[str, int]] = dict) -> None:
        self._processes = processes
        self._pods: dict[str, tuple[Sample, Sample]] = {}
        self._node: tuple[Sample, Sample] | None = None

    async def run(self) -> None:
        """Take a sample now and then, for as long as this runs."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        """Measure all pods and the node once more."""
        now = asyncio.get_running_loop().time()
        table = _processes()
        pods = {}
        for uid, pid in self._processes().items():
            newest = _tree(table, pid, now)
            if newest is not None:
                pods[uid] = (self._pods.get(uid, (newest, newest))[1], newest)
        self._pods = pods
        newest = _machine(now)
        self._node = (self._node[1] if self._node else newest, newest)

    def answer(self, store: Store, rest: str, query: Mapping[str, str]) -> Object:
        """What is behind ``metrics.k8s.io/v1beta1/{rest}``.

        A pod without a process, or measured only once, has no metrics. Raises NotFound, Invalid for a selector.
        """
        match rest.strip("/").split("/"):
            case ["nodes"]:
                return _list("NodeMetricsList", filter(None, [self._of_node(store)]))
            case ["nodes", name]:
                return _one(self._of_node(store), "nodes", name)
            case ["pods"]:
                return _list("PodMetricsList", self._of_pods(store, None, query))
            case ["namespaces", space, "pods"]:
                return _list("PodMetricsList", self._of_pods(store, space, query))
            case ["namespaces", space, "pods", name]:
                found = [one for one in self._of_pods(store, space, {}) if one["metadata"]["name"] == name]
                return _one(found[0] if found else None, "pods", name)
        raise NotFound("path_unknown", path=rest[:80])

    def _of_pods(self, store: Store, space: str | None, query: Mapping[str, str]) -> list[Object]:
        labels = selectors.labels(query.get("labelSelector", ""))
        fields = selectors.fields(query.get("fieldSelector", ""))
        return [
            _metrics(pod, "PodMetrics", pair, container=pod["spec"]["containers"][0]["name"])
            for pod in store.list(POD, space)
            if labels(pod) and fields(pod) and (pair := self._pods.get(pod["metadata"]["uid"])) and pair[0] != pair[1]
        ]

    def _of_node(self, store: Store) -> Object | None:
        nodes = store.list(NODE)
        if not nodes or self._node is None or self._node[0] == self._node[1]:
            return None
        return _metrics(nodes[0], "NodeMetrics", self._node)


def _metrics(obj: Object, kind: str, pair: tuple[Sample, Sample], container: str | None = None) -> Object:
    before, after = pair
    window = after.at - before.at
    nanocores = max(0, round((after.cpu_seconds - before.cpu_seconds) / window * 1e9))
    used = {"cpu": f"{nanocores}n", "memory": f"{after.memory_bytes // 1024}Ki"}
    names = ("name", "namespace", "labels")
    meta = {name: obj["metadata"][name] for name in names if name in obj["metadata"]}
    measured = {"containers": [{"name": container, "usage": used}]} if container else {"usage": used}
    ago = timedelta(seconds=asyncio.get_running_loop().time() - after.at)
    when = (clock.now() - ago).strftime("%Y-%m-%dT%H:%M:%SZ")
    meta["creationTimestamp"] = when
    return {
        "kind": kind,
        "apiVersion": VERSION,
        "metadata": meta,
        "timestamp": when,
        "window": f"{window:.3f}s",
        **measured,
    }


def _list(kind: str, items: object) -> Object:
    return {"kind": kind, "apiVersion": VERSION, "metadata": {}, "items": list(items)}  # type: ignore[call-overload]


def _one(found: Object | None, plural: str, name: str) -> Object:
    if found is None or found["metadata"]["name"] != name:
        raise NotFound("not_found", kind=f"{plural}.metrics.k8s.io", name=name[:80])
    return found


def _processes() -> dict[int, tuple[int, int, float, int]]:
    """Every process: parent, process group, CPU seconds with those of its ended children, bytes in memory."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        seconds = sum(map(int, fields[11:15])) / _TICKS
        found[int(folder.name)] = (int(fields[1]), int(fields[2]), seconds, int(fields[21]) * _PAGE)
    return found


def _tree(table: Mapping[int, tuple[int, int, float, int]], root: int, now: float) -> Sample | None:
    """The process with its descendants and its group; None if it is gone."""
    if root not in table:
        return None
    tree, grown = {pid for pid, row in table.items() if row[1] == root} | {root}, True
    while grown:
        more = {pid for pid, row in table.items() if row[0] in tree} - tree
        tree, grown = tree | more, bool(more)
    return Sample(now, sum(table[pid][2] for pid in tree), sum(table[pid][3] for pid in tree))


def _machine(now: float) -> Sample:
    fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    busy = (sum(fields) - fields[3] - fields[4]) / _TICKS
    memory = {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    return Sample(now, busy, (memory["MemTotal"] - memory["MemAvailable"]) * 1024)
