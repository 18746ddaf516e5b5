"""The rate of calls while Redis is away: a bucket for each customer in this process alone."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MOST_CUSTOMERS = 20_000
"""The longest ago seen is forgotten first."""


class Buckets:
    """Token buckets: ``burst`` calls at once, ``rate`` a second in the long run."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._step, self._burst, self._clock = 1 / rate, burst, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, customer_id: str) -> float:
        """Take one call; 0, or the seconds until there is one to take."""
        now = self._clock()
        full_at = max(self._full_at.get(customer_id, now), now) + self._step
        wait = full_at - self._step * self._burst - now
        if wait > 0:
            return wait
        self._full_at[customer_id] = full_at
        self._full_at.move_to_end(customer_id)
        if len(self._full_at) > MOST_CUSTOMERS:
            self._full_at.popitem(last=False)
        return 0.0
