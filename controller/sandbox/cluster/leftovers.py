"""Container processes that outlived a killed kubelet, so that no pod ever runs twice on one volume."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from controller.core import log as logs
from controller.core.errors import Permanent

log = logs.get(__name__)

LOOK_SECONDS = 0.02
GONE_WITHIN_LOOKS = 500


class Leftovers:
    """A folder with one file per running process: its pid, and the kernel's tick at which it started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def remember(self, pid: int) -> None:
        """Note a process that was just started."""
        if (started := _started(pid)) is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / str(pid)).write_text(started)

    def forget(self, pid: int) -> None:
        """Drop the note of a process that has ended."""
        (self._folder / str(pid)).unlink(missing_ok=True)

    async def end(self) -> None:
        """Kill what an earlier life left running; a pid that the kernel gave to another since is let be.

        Raises Permanent if one does not die.
        """
        for note in sorted(self._folder.glob("*")) if self._folder.exists() else []:
            pid = int(note.name)
            if _started(pid) == note.read_text():
                log.warning("kubelet.leftover_killed", pid=pid)
                os.killpg(pid, signal.SIGKILL)
                await _gone(pid)
            note.unlink()


async def _gone(pid: int) -> None:
    for _ in range(GONE_WITHIN_LOOKS):
        if _started(pid) is None:
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise Permanent("leftover_not_killed", pid=pid)


def _started(pid: int) -> str | None:
    """The start tick of a live process: field 22 of its stat line; None if it is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]
