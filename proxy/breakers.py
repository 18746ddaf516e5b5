"""Which providers are worth asking first: a breaker for each, which reorders calls and never refuses one.

A customer's own doing must not take a provider from the others: what a body can provoke (an error, a silence) opens the
breaker only when it happened to more than one customer; what none can (no connection) does after three in a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

FAILURES = 3
"""In a row, without an answer in between."""

CUSTOMERS = 2
PAUSE = timedelta(seconds=10)
"""How long it is asked last once it is open; doubled with every look that shows it is not back."""

LONGEST = timedelta(seconds=80)


class Breaker:
    """One provider's, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._sufferers: set[str] = set()
        self._certain = 0
        self._pause = PAUSE
        self._open_until: float | None = None
        self._looking = False

    @property
    def open(self) -> bool:
        """Whether it was last seen failing."""
        return self._open_until is not None

    @property
    def ready(self) -> bool:
        """Whether to ask it in its turn; when it is open, one call after each pause is the one that looks."""
        if self._open_until is None:
            return True
        return not self._looking and self._clock() >= self._open_until

    def begin(self) -> None:
        """It is being asked."""
        self._looking = self.open

    def worked(self) -> None:
        """It has answered."""
        self._failures = self._certain = 0
        self._sufferers.clear()
        self._pause = PAUSE
        self._open_until = None
        self._looking = False

    def failed(self, who: str, *, certain: bool) -> None:
        """It has not; ``certain``: no request could have been the reason."""
        self._failures += 1
        self._certain += certain
        if len(self._sufferers) < CUSTOMERS:
            self._sufferers.add(who)
        if self._open_until is not None:
            if self._looking:
                self._pause = min(self._pause * 2, LONGEST)
        elif self._certain < FAILURES and (self._failures < FAILURES or len(self._sufferers) < CUSTOMERS):
            return
        self._looking = False
        self._open_until = self._clock() + self._pause.total_seconds()

    def left(self) -> None:
        """The call ended without showing anything: its client went away."""
        self._looking = False
