"""Child processes of the sandbox: started in sessions of their own, logged, restarted, and stopped for certain."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from controller.core import log as logs
from controller.core.errors import Permanent
from controller.sandbox.accounts import Account

log = logs.get(__name__)

_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec other threads' locks may be held for ever, and the loader would want one.
_LIBC = ctypes.CDLL(None)
STOP_GRACE = timedelta(seconds=10)
LOWEST_PORT, DEFAULT_EPHEMERAL_FLOOR = 20_000, 32_768
PORT_TRIES = 50
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
CLAIMS_KEPT = 256
_CLAIMS: deque[socket.socket] = deque()


class StartError(Permanent):
    """Raised when a process ends or stays silent instead of becoming ready; ``facts["log"]`` has its last lines."""


@dataclass(frozen=True)
class Command:
    """What to run: ``argv``, its whole environment, where it logs and as whom it runs."""

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace: timedelta = STOP_GRACE


class Process:
    """One running command."""

    def __init__(self, command: Command, child: asyncio.subprocess.Process) -> None:
        self.command = command
        self.child = child

    @classmethod
    async def start(cls, command: Command) -> Process:
        """The command, running; it dies with us even if we are killed."""
        drop = (
            {"user": command.account.uid, "group": command.account.gid, "extra_groups": []} if command.account else {}
        )
        with command.log.open("ab") as sink:
            child = await asyncio.create_subprocess_exec(
                *command.argv,
                env=dict(command.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **drop,  # type: ignore[arg-type]
            )
        return cls(command, child)

    async def ready(self, check: Callable[[], Awaitable[bool]], within: timedelta) -> None:
        """Return once ``check`` says true.

        Raises StartError when the process ends first or the time is over.
        """
        deadline = asyncio.get_running_loop().time() + within.total_seconds()
        while not await check():
            if self.child.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise StartError("process_not_ready", process=self.command.name, log=tail(self.command.log))
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End it: its stop signal to the leader, SIGKILL to the whole group when the grace is over."""
        if self.child.returncode is None:
            self.child.send_signal(self.command.stop_signal)
            try:
                async with asyncio.timeout(self.command.stop_grace.total_seconds()):
                    await self.child.wait()
            except TimeoutError:
                log.warning("sandbox.process_killed", process_name=self.command.name)
        _kill_group(self.child.pid)
        await self.child.wait()


async def together(starts: Iterable[Coroutine[object, object, None]]) -> None:
    """Start all at once. When one fails the others are cancelled, and its error is raised once they have ended.

    ``asyncio.gather`` would leave them running: beside a stop, which then misses whatever they start.
    """
    tasks = [asyncio.create_task(start) for start in starts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def python(module: str, *arguments: str) -> list[str]:
    """The argument list that runs one of our modules with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def free_port() -> int:
    """A loopback port that nobody listens on, and that neither the kernel nor another sandbox gives away meanwhile.

    Whoever gets it may take seconds to listen, so it comes from below the kernel's range where there is room, and is
    claimed (``claim_port``) until this process has taken ``CLAIMS_KEPT`` more.
    """
    room = range(LOWEST_PORT, _ephemeral_floor())
    for port in [*random.sample(room, min(PORT_TRIES, len(room))), 0]:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found = int(probe.getsockname()[1])
            if claim_port(found):
                return found
    raise StartError("no_free_port", process="any", log="")


def claim_port(port: int) -> bool:
    """Whether ``port`` is ours now: no sandbox on this machine has it, nor did this process claim it before.

    The claim is a name in Linux's abstract socket space: the kernel lets go of it if we are killed. Elsewhere there
    is no such space, and every port can be had.
    """
    if not sys.platform.startswith("linux"):
        return True
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0openclaw-cloud/port/{port}")
    except OSError:
        name.close()
        return False
    _CLAIMS.append(name)
    while len(_CLAIMS) > CLAIMS_KEPT:
        _CLAIMS.popleft().close()
    return True


async def listening(port: int) -> bool:
    """Whether something accepts connections on the loopback ``port``."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def _ephemeral_floor() -> int:
    """The lowest port that the kernel itself hands out."""
    try:
        return int(EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return DEFAULT_EPHEMERAL_FLOOR


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
