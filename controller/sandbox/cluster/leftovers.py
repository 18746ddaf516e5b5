"""Container processes that outlived a killed kubelet, so that no pod ever runs twice on one volume."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
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
        """Kill what an earlier life left running, with its children; a pid that is another's since is let be.

        Raises Permanent if one does not die.
        """
        for note in sorted(self._folder.glob("*")) if self._folder.exists() else []:
            pid, tick = int(note.name), note.read_text()
            # the leader may be dead and its children alive: while they are, the kernel gives the pid to nobody else
            if _started(pid) in (tick, None) and (members := _group(pid, int(tick))):
                log.warning("kubelet.leftover_killed", pid=pid, processes=len(members))
                os.killpg(pid, signal.SIGKILL)
                await _gone(members)
            note.unlink()


async def _gone(pids: Sequence[int]) -> None:
    for _ in range(GONE_WITHIN_LOOKS):
        if all(_started(pid) is None for pid in pids):
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise Permanent("leftover_not_killed", pids=",".join(map(str, pids)))


def _group(leader: int, since: int) -> list[int]:
    """The live processes of the group that ``leader`` began, none of them older than the tick ``since``."""
    found = []
    for folder in Path("/proc").iterdir():
        fields = _stat(int(folder.name)) if folder.name.isdecimal() else None
        if fields is not None and int(fields[2]) == leader and int(fields[19]) >= since:
            found.append(int(folder.name))
    return found


def _started(pid: int) -> str | None:
    """The start tick of a live process; None if it is gone or only waits to be reaped."""
    fields = _stat(pid)
    return None if fields is None else fields[19]


def _stat(pid: int) -> list[str] | None:
    """The kernel's line on a live process from its state on: state, parent, group, ..., start tick."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else fields
