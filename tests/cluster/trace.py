"""When each rev was where: noted by whoever watches Applications beside the controller's own watcher."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from enum import StrEnum
from pathlib import Path
from typing import Any

from controller.clients import argocd
from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core.errors import CloudError

REV = "openclaw.cloud/rev"


class Stage(StrEnum):
    """How far a rev has come, in order."""

    PUSHED = "pushed"
    GENERATED = "generated"
    SYNCING = "syncing"
    APPLIED = "applied"
    SETTLED = "settled"
    RECORDED = "recorded"


class Trace:
    """Unix times by box, rev and stage, of what is seen from the start to ``close``."""

    def __init__(self, kubeconfig: Path) -> None:
        self._cluster = Cluster(ClusterSettings(kubeconfig=kubeconfig))
        self._times: dict[tuple[str, int], dict[Stage, float]] = defaultdict(dict)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """See no more."""
        self._ending.set()

    def note(self, box_id: str, rev: int, stage: Stage, at: float) -> None:
        """Remember the first time of it."""
        self._times[box_id, rev].setdefault(stage, at)

    def legs(self, boxes: dict[str, int]) -> dict[str, list[float]]:
        """Seconds from each stage to the next, by the later one's name, of these boxes' revs; and of the whole way."""
        legs: dict[str, list[float]] = {}
        for key in boxes.items():
            times = self._times[key]
            for before, after in itertools.pairwise(stage for stage in Stage if stage in times):
                legs.setdefault(after.value, []).append(times[after] - times[before])
            legs.setdefault("all", []).append(times[Stage.RECORDED] - times[Stage.PUSHED])
        return legs

    def _follow(self) -> None:
        while not self._ending.is_set():
            try:
                listed, since = self._cluster.applications()
                for application in listed:
                    self._see(application, time.time())
                for change in self._cluster.changes(since, 30):
                    if change.type != "BOOKMARK":
                        self._see(change.object, time.time())
            except CloudError:
                self._ending.wait(0.2)

    def _see(self, application: dict[str, Any], now: float) -> None:
        rev = int((application["metadata"].get("annotations") or {}).get(REV, 0))
        seen = argocd.read(application)
        self.note(seen.box_id, rev, Stage.GENERATED, now)
        if seen.operating and seen.rev == rev:
            self.note(seen.box_id, rev, Stage.SYNCING, now)
        if seen.rev == rev and seen.sync == "Synced" and seen.phase == "Succeeded":
            self.note(seen.box_id, rev, Stage.APPLIED, now)
        if seen.settled(rev):
            self.note(seen.box_id, rev, Stage.SETTLED, now)
