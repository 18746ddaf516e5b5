"""The one place that reads the wall clock, so that a test can stop it and Postgres can correct it.

Times that one process writes and another compares all come through Postgres, so its clock is the one that counts: each
process follows it (``core/db.py``), whatever its own machine believes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from controller.core.settings import Group, SettingsError, load

TOLERATED = timedelta(seconds=1)
"""Smaller differences are the network's as much as the clock's, and nothing here depends on them."""

_frozen: ContextVar[datetime | None] = ContextVar("frozen_clock", default=None)


class ClockSettings(Group):
    """A clock that is wrong on purpose."""

    app_env: str = "production"
    clock_error: timedelta = timedelta(0)
    """How much this process's clock is ahead. Refused unless ``APP_ENV=test``."""


class _Clock:
    """The process's clock: its machine's, and by how much that is corrected."""

    def __init__(self) -> None:
        self.correction = timedelta(0)
        self._error: timedelta | None = None

    def machine(self) -> datetime:
        if self._error is None:
            settings = load(ClockSettings)
            if settings.clock_error and settings.app_env != "test":
                raise SettingsError("clock_error_outside_test", variable="CLOCK_ERROR")
            self._error = settings.clock_error
        return datetime.now(UTC) + self._error


_clock = _Clock()


def now() -> datetime:
    """The current time, aware, in UTC."""
    return _frozen.get() or _clock.machine() + _clock.correction


def follow(true: datetime) -> timedelta:
    """Make ``now()`` agree with ``true``, read this instant from the clock that counts; by how much it was wrong.

    An error below ``TOLERATED`` is left alone.
    """
    error = true - _clock.machine()
    if abs(error - _clock.correction) <= TOLERATED:
        return timedelta(0)
    wrong, _clock.correction = error - _clock.correction, error
    return wrong


@contextmanager
def frozen(at: datetime) -> Iterator[None]:
    """Inside the block ``now()`` is ``at`` (aware) for this task and those it starts."""
    token = _frozen.set(at.astimezone(UTC))
    try:
        yield
    finally:
        _frozen.reset(token)
