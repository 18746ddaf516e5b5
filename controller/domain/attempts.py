"""When something that failed is tried again, and when it is given to a human: one rule for events and jobs."""

from __future__ import annotations

from datetime import timedelta

from controller.core.errors import CloudError, Permanent, Temporary

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(minutes=5)

MOST = 12
"""Attempts at what fails for a reason of its own: some 18 minutes, then it is set aside."""

MOST_WHILE_AWAY = 1_000
"""Attempts while a vendor, the remote or a store is away: three days and a half of waiting."""


def backoff(attempts: int, first: timedelta = FIRST_WAIT, longest: timedelta = LONGEST_WAIT) -> timedelta:
    """The wait after the ``attempts``-th failure: doubling from the first to the longest."""
    return min(first * (1 << min(attempts - 1, 30)), longest)


def wait(error: CloudError, backoff: timedelta) -> timedelta:
    """How long to wait after ``error``: the back-off, or longer where the other side asked for it."""
    return max(backoff, error.retry_after) if isinstance(error, Temporary) else backoff


def used_up(error: CloudError, attempts: int) -> bool:
    """Whether a human has to look after the ``attempts``-th failure with ``error``."""
    if isinstance(error, Permanent):
        return True
    return attempts >= (MOST_WHILE_AWAY if isinstance(error, Temporary) else MOST)
