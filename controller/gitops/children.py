"""Running git as a child that ends in time, together with every process that it has started.

Git starts helpers of its own (ssh, a transport, a hook), which keep its pipes open: it has a process group to itself,
and the whole group is killed. A round of work has one limit for all its commands.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, cast

from controller.core.errors import Temporary

LIMIT = timedelta(seconds=100)
"""For one round of the git writer: below its actor's time limit, which would cut it off in the middle."""

_LOOK = 0.2
"""How often a running command looks whether its round was stopped."""

_NAP = 0.001
"""How long git that has said everything is left to end, again and again."""


class RoundOver(Temporary):
    """Raised when the time of a round is used up: what is left to do is for the next."""


@dataclass
class Round:
    """A stretch of work that begins nothing new after half its time, and whose git is ended after all of it."""

    half: float
    end: float

    def late(self) -> bool:
        """Whether nothing new should be begun."""
        return time.monotonic() > self.half

    def left(self) -> float:
        """The seconds until its git is ended."""
        return self.end - time.monotonic()

    def stop(self) -> None:
        """End its git now."""
        self.half = self.end = 0.0


_current: ContextVar[Round | None] = ContextVar("round", default=None)


@contextmanager
def within(limit: timedelta) -> Iterator[Round]:
    """The block, and threads it starts with its context, as one round."""
    now, seconds = time.monotonic(), limit.total_seconds()
    made = Round(now + seconds / 2, now + seconds)
    token = _current.set(made)
    try:
        yield made
    finally:
        _current.reset(token)


def current() -> Round | None:
    """The round that this thread works in."""
    return _current.get()


def check_time() -> None:
    """Return if something new may be begun.

    Raises RoundOver in the second half of a round.
    """
    current = _current.get()
    if current is not None and current.late():
        raise RoundOver("git_round_over")


def finish(process: subprocess.Popen[bytes], timeout: timedelta) -> tuple[bytes, bytes]:
    """What the process, the leader of its group, prints: its output and its errors, once it has ended.

    Raises TimeoutError when it takes longer than ``timeout``, RoundOver when its round ends before that; nothing of
    its group is left then.
    """
    try:
        return _output(process, timeout.total_seconds())
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of the process's group is left, and its pipes are closed."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in filter(None, (process.stdout, process.stderr)):
        pipe.close()


def _output(process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bytes]:
    current, until = _current.get(), time.monotonic() + seconds

    def check() -> None:
        if current is not None and current.left() <= 0:
            raise RoundOver("git_round_over")
        if time.monotonic() > until:
            raise TimeoutError(f"no end after {seconds:g} s")

    pipes = [cast(IO[bytes], process.stdout), cast(IO[bytes], process.stderr)]
    read = {pipe.fileno(): bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as unfinished:
        for pipe in pipes:
            unfinished.register(pipe, selectors.EVENT_READ)
        while unfinished.get_map():
            check()
            for ready, _ in unfinished.select(_LOOK):
                if told := os.read(ready.fd, 1 << 16):
                    read[ready.fd] += told
                else:
                    unfinished.unregister(ready.fileobj)
    while process.poll() is None:  # Popen's own wait with a limit sleeps up to 50 ms
        check()
        time.sleep(_NAP)
    out, err = read.values()
    return bytes(out), bytes(err)
