"""The clone in the long run: its many small packs are merged beside the batches, by a git that nobody waits for.

A merge of 50 000 boxes takes seconds on a busy machine. Git lets others read and write meanwhile: the new pack is
there before the old ones go, and whoever misses one looks again.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

from controller.core import failpoints
from controller.core import log as logs
from controller.gitops import commands
from controller.gitops.commands import Background

log = logs.get(__name__)

LONGEST = timedelta(minutes=10)
"""After that a merge is ended, and begun anew: it may hang on a disk that is gone."""


class Upkeep:
    """Merges the packs of the clone at ``folder`` when there are more than ``most`` (``git_most_packs``)."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._merge: Background | None = None
        self._until = 0.0

    def tend(self) -> None:
        """Begin a merge if one is due and none is under way; one that has ended is over and done with.

        Raises RepositoryBroken if the last one failed, OSError for a disk that takes nothing more.
        """
        if self._merge is not None:
            if not self._merge.over() and time.monotonic() < self._until:
                return
            merge, self._merge = self._merge, None
            merge.result()
            log.info("gitops.clone_tidied")
        store = self._folder / "objects"
        packs, loose = (sum(1 for _ in store.glob(form)) for form in ("pack/*.pack", "[0-9a-f][0-9a-f]/*"))
        if packs + loose // 100 <= self._most:
            return
        for left in (*store.glob("pack/.tmp-*"), *store.glob("pack/tmp_*")):
            left.unlink(missing_ok=True)
        log.info("gitops.clone_tidying", packs=packs, loose=loose)
        self._merge = commands.begin(
            "repack", "--geometric=2", "-d", "--quiet", "--no-write-bitmap-index", folder=self._folder
        )
        self._until = time.monotonic() + LONGEST.total_seconds()
        failpoints.hit("upkeep.begun")

    def wait(self) -> None:
        """Return once no merge is under way."""
        while self._merge is not None and not self._merge.over():
            time.sleep(0.01)

    def stop(self) -> None:
        """End a merge that is under way: it leaves the old packs or the new, or both."""
        if self._merge is not None:
            self._merge.stop()
            self._merge = None
