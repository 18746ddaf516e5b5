"""Node's clients as one process that asks what it is told."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Attempt:
    """One request, as the network saw it; ``at`` in milliseconds."""

    at: float
    status: int
    retry_after: str | None
    limit: str | None


@dataclass(frozen=True)
class Failure:
    """What a client threw; pi-ai tells only a message."""

    status: int | None
    code: str | None
    message: str


@dataclass(frozen=True)
class Said:
    """What a client understood, in one form for all of them."""

    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    error: Failure | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of calls made at once, and every request that was sent for them."""

    answers: list[Said]
    attempts: list[Attempt]

    @property
    def only(self) -> Said:
        """The one answer."""
        (answer,) = self.answers
        return answer

    @property
    def statuses(self) -> list[int]:
        """How the requests were answered, in order."""
        return [one.status for one in self.attempts]


class Driver:
    """A running ``driver.mjs``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, client: str, base: str, token: str, **changed: Any) -> Outcome:
        """Ask ``base`` through ``client``; what else can be said is in ``driver.mjs``."""
        plain = {"text": "oi", "stream": False, "tools": False, "retries": 0, "at_once": 1, "leave": False}
        asked = {"client": client, "base": base, "token": token, **plain, **changed}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return Outcome([_said(one) for one in told["answers"]], [Attempt(**one) for one in told["attempts"]])


def _said(told: dict[str, Any]) -> Said:
    return Said(error=Failure(**told["error"])) if "error" in told else Said(**told)


@contextmanager
def running(packages: Path, folder: Path) -> Iterator[Driver]:
    """The driver in ``folder``, with the clients in ``packages``, while the block runs."""
    for module in HERE.glob("*.mjs"):
        shutil.copyfile(module, folder / module.name)
    (folder / "node_modules").symlink_to(packages / "node_modules")
    argv = [str(packages / "bin/node"), str(folder / "driver.mjs")]
    # Nothing of ours in its environment: a client would pick up a key or a proxy of this machine.
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env={"HOME": str(folder)}
    ) as process:
        try:
            yield Driver(process)
        finally:
            process.kill()
