"""Named places where a test makes the process die or fail; each hit is counted in a file.

``FAILPOINTS="inbox.stored:kill,gitops.pushed:raise:3"`` arms them: ``kill`` is SIGKILL to ourselves, ``raise`` a
Temporary error; the number is how many hits act (default 1), counted over all processes through
``FAILPOINT_LOG``, which gets one line a hit.
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

_POINT = re.compile(r"([^:,\s]+):(kill|raise)(?::(\d+))?")


class FailpointSettings(Group):
    """Off unless a test sets all three."""

    app_env: str = "production"
    failpoints: str = ""
    failpoint_log: Path | None = None


class InjectedFault(Temporary):
    """Raised by an armed failpoint."""


def hit(name: str) -> None:
    """Act if a test armed the point ``name`` and its count is not used up; return otherwise."""
    armed = _armed().get(name)
    if armed is None:
        return
    action, times, log = armed
    if not _count(log, name, times):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise InjectedFault("fault_injected", point=name)


@cache
def _armed() -> dict[str, tuple[str, int, Path]]:
    settings = FailpointSettings()
    if not settings.failpoints:
        return {}
    if settings.app_env != "test" or settings.failpoint_log is None:
        raise SettingsError("failpoints_outside_test", variable="FAILPOINTS")
    armed = {}
    for part in settings.failpoints.split(","):
        match = _POINT.fullmatch(part)
        if match is None:
            raise SettingsError("failpoint_malformed", variable="FAILPOINTS", point=part)
        armed[match[1]] = (match[2], int(match[3] or 1), settings.failpoint_log)
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
