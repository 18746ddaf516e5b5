"""What is measured: processes on ports, with the CPU and the memory that the kernel says they took."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from controller.sandbox.processes import Command, Process, free_port, listening

ROOT = Path(__file__).resolve().parents[3]
TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds of CPU below which the kernel tells nothing apart."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
START = timedelta(seconds=120)
"""LiteLLM needs half a minute where others work beside it."""


class Unavailable(Exception):
    """Raised where something cannot be measured here; the sentence says why."""


class Bench:
    """Where things are, and which cores are whose: the last is the measured process's, all else shares the others."""

    def __init__(self, folder: Path, others: Path) -> None:
        self.folder = folder
        self.others = others
        """Where gateways that are not ours are installed, once a machine."""
        self.mock_port = free_port()
        cores = sorted(os.sched_getaffinity(0))
        self._all, self._last = set(cores), {cores[-1]}
        self._rest = set(cores[:-1]) or self._last

    @property
    def upstream(self) -> str:
        """The mock's address, as an OpenAI-compatible one."""
        return f"http://127.0.0.1:{self.mock_port}/v1"

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Within the block this process, and what it starts, leave the last core alone."""
        with _on(self._rest, self._all):
            yield

    @contextlib.contextmanager
    def alone(self, processes: int) -> Iterator[None]:
        """What is started within the block has the last core, or as many as it has processes."""
        with _on(self._last if processes == 1 else self._all, self._rest):
            yield


@contextlib.contextmanager
def _on(cores: set[int], afterwards: set[int]) -> Iterator[None]:
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, afterwards)


class Target(ABC):
    """One way to the mock. ``ports`` has one for each of its processes that listen on their own."""

    name: ClassVar[str]

    def __init__(self, bench: Bench, processes: int = 1) -> None:
        self._bench = bench
        self._count = processes
        self.ports: list[int] = []
        self._running: list[Process] = []

    @property
    def label(self) -> str:
        """Its name in the figures."""
        return self.name if self._count == 1 else f"{self.name}_{self._count}"

    async def start(self) -> None:
        """Running, and one call went through. Raises Unavailable."""
        self.ports = [free_port() for _ in range(self._count)]
        with self._bench.alone(self._count):
            self._running = [await Process.start(self.command(port)) for port in self.ports]
        for process, port in zip(self._running, self.ports, strict=True):
            await process.ready(lambda port=port: listening(port), START)  # type: ignore[misc]

    async def stop(self) -> None:
        """Ended, with what it started."""
        running, self._running = self._running, []
        for process in running:
            await process.stop()

    @abstractmethod
    def command(self, port: int) -> Command:
        """How one of its processes is started. Raises Unavailable."""

    def headers(self) -> list[dict[str, str]]:
        """What a client shows; of several, one after the other."""
        return [{"authorization": "Bearer sk-bench"}]

    def requests(self, body: bytes) -> list[bytes]:
        """The requests for ``body``, ready to be written."""
        return [_request(headers, body) for headers in self.headers()]

    def cpu_seconds(self) -> float:
        """What its processes have taken so far."""
        return sum(cpu_seconds(pid) for process in self._running for pid in group(process.child.pid))

    def rss_bytes(self) -> int:
        """What its processes have in memory."""
        return sum(rss_bytes(pid) for process in self._running for pid in group(process.child.pid))

    def _command(self, argv: Sequence[str], **env: str) -> Command:
        base = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self._bench.folder), "PYTHONPATH": str(ROOT)}
        grace = timedelta(seconds=3)
        return Command(self.name, list(argv), self._bench.folder / f"{self.name}.log", base | env, stop_grace=grace)


def group(leader: int) -> list[int]:
    """The process and those it started: each of ours leads a group of its own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getpgid(int(folder.name)) == leader:
                found.append(int(folder.name))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK
    return 0.0


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def _request(headers: dict[str, str], body: bytes) -> bytes:
    told = {"host": "127.0.0.1", "user-agent": "bench", "accept": "*/*", "content-type": "application/json"}
    told |= {"content-length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + body
