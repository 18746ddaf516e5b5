"""What one process runs of the tests when several share them: single files, and some folders as a whole.

The dearest come first, so that no process begins one when the others are done.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

DEAR = (
    "tests/proxy/openclaw/",
    "tests/journeys/",
    "tests/faults/",
    "tests/sandbox/cluster/",
    "tests/sandbox/test_stack.py",
    "tests/charts/test_tools.py",
    "tests/charts/test_accepted.py",
    "tests/charts/test_mcporter.py",
    "tests/proxy/node/",
)
"""Folders whose tests share what takes long to start, and files that take minutes."""


class Shares(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives each process that has nothing to do one share, in the order of the tests."""

    def _split_scope(self, nodeid: str) -> str:
        return share(nodeid)


def share(nodeid: str) -> str:
    """The share that a test belongs to."""
    return next((place for place in DEAR if nodeid.startswith(place)), nodeid.split("::")[0])


def turn(nodeid: str) -> int:
    """When its share is given out: the dear ones by their order, then all others."""
    place = share(nodeid)
    return DEAR.index(place) if place in DEAR else len(DEAR)
