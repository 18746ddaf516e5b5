"""Named places where a test makes the process die or fail; each hit is counted in a file.

``FAILPOINTS="inbox.stored:kill,gitops.pushed:raise:3"`` arms them: ``kill`` is SIGKILL to ourselves, ``stop`` SIGSTOP
(until somebody sends SIGCONT), ``raise`` a Temporary error; the number is how many hits act (default 1), counted over
all processes through ``FAILPOINT_LOG``, which gets one line a hit. ``FAILPOINTS=@file`` reads the same text from a file
at every hit, so that a test arms processes that already run.
Refused unless ``APP_ENV=test``; unarmed, a point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import re
import signal
from functools import cache
from pathlib import Path

from controller.core.errors import Temporary
from controller.core.settings import Group, SettingsError

_POINT = re.compile(r"([^:,\s]+):(kill|stop|raise)(?::(\d+))?")
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class FailpointSettings(Group):
    """Off unless a test sets all three."""

    app_env: str = "production"
    failpoints: str = ""
    failpoint_log: Path | None = None


class InjectedFault(Temporary):
    """Raised by an armed failpoint."""


def hit(name: str) -> None:
    """Act if a test armed the point ``name`` and its count is not used up; return otherwise."""
    told, log = _armed()
    if not told or log is None:
        return
    action, times = _points(told).get(name, ("", 0))
    if not action or not _count(log, name, times):
        return
    if action in _SIGNALS:
        os.kill(os.getpid(), _SIGNALS[action])
        return
    raise InjectedFault("fault_injected", point=name)


@cache
def _armed() -> tuple[str, Path | None]:
    settings = FailpointSettings()
    if settings.failpoints and (settings.app_env != "test" or settings.failpoint_log is None):
        raise SettingsError("failpoints_outside_test", variable="FAILPOINTS")
    return settings.failpoints, settings.failpoint_log


def _points(told: str) -> dict[str, tuple[str, int]]:
    if not told.startswith("@"):
        return _parsed(told)
    file = Path(told[1:])
    text = file.read_text().strip() if file.exists() else ""
    return _parsed(text) if text else {}


@cache
def _parsed(text: str) -> dict[str, tuple[str, int]]:
    armed = {}
    for part in text.split(","):
        match = _POINT.fullmatch(part)
        if match is None:
            raise SettingsError("failpoint_malformed", variable="FAILPOINTS", point=part)
        armed[match[1]] = (match[2], int(match[3] or 1))
    return armed


def _count(log: Path, name: str, times: int) -> bool:
    for number in range(times):
        try:
            (log.parent / f"{log.name}.{name}.{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        with log.open("a") as file:
            file.write(f"{name}\n")
        return True
    return False
