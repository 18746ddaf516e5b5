"""Our processes as an orchestrator runs them: started again whenever they end, killed as a whole."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from controller.sandbox.processes import Command, Process
from tests.faults.loops import Loop, until

RESTART_SECONDS = 0.1
START_SECONDS = 4.0
"""About what a start takes where other work runs beside it."""


class Child:
    """One process that is kept running until ``stop``."""

    def __init__(self, loop: Loop, command: Command) -> None:
        self._loop = loop
        self.command = command
        self.started = 0
        """How often it was started."""
        self.died_at = 0.0
        """When it last ended, in Unix time; everything that it did was done before."""
        self._since = 0.0
        self._process: Process | None = None
        self._kept: asyncio.Task[None] | None = None
        self.start()

    def start(self, **env: str) -> None:
        """Keep it running, with ``env`` on top of its own environment until the next ``stop``."""
        assert self._kept is None
        command = replace(self.command, env={**self.command.env, **env})
        self._loop.call(self._begin(command))

    def stop(self) -> None:
        """End it with its stop signal and leave it ended."""
        self._loop.call(self._end())

    def end(self) -> None:
        """SIGKILL, for good."""
        self._loop.call(self._end(signal.SIGKILL))

    def restart(self, **env: str) -> None:
        """A planned restart: stop, wait, start."""
        self.stop()
        self.start(**env)

    def kill(self) -> None:
        """SIGKILL to the whole group; it comes back by itself."""
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole group."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.child.pid, number)

    def log(self) -> str:
        """Everything it said so far, over all starts."""
        return self.command.log.read_text(errors="replace") if self.command.log.exists() else ""

    def busy(self) -> bool:
        """Whether it has run for so long since its last start that it should be at work."""
        return time.monotonic() - self._since >= START_SECONDS

    def pids(self) -> list[int]:
        """The process and those it started."""
        assert self._process is not None
        leader = self._process.child.pid
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.getpgid(int(folder.name)) == leader:
                    found.append(int(folder.name))
        return sorted(found)

    def says(self, text: str, after: int = 0, seconds: float = 60) -> None:
        """Return once its log has ``text`` beyond the first ``after`` characters."""
        until(lambda: text in self.log()[after:], f"{self.command.name} says {text!r}", seconds)

    async def _begin(self, command: Command) -> None:
        await self._run(command)
        self._kept = asyncio.create_task(self._keep(command))

    async def _keep(self, command: Command) -> None:
        while self._process is not None:
            await self._process.child.wait()
            self.died_at = time.time()
            await asyncio.sleep(RESTART_SECONDS)
            with suppress(OSError):  # no memory or no process left: what ended is started again a moment later
                await self._run(command)

    async def _run(self, command: Command) -> None:
        self._process = await Process.start(command)
        self._since = time.monotonic()
        self.started += 1

    async def _end(self, first: signal.Signals = signal.SIGCONT) -> None:
        if self._kept is not None:
            self._kept.cancel()
            await asyncio.gather(self._kept, return_exceptions=True)
            self._kept = None
        if self._process is not None:
            self.send(first)
            await self._process.stop()
            self.died_at = time.time()
