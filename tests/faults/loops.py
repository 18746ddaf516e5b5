"""An event loop in a thread of its own: servers, wires and supervision go on while a test waits or blocks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 60.0
LOOK_SECONDS = 0.05


class Loop:
    """Runs from its making to ``close``."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True, name="stand")
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], seconds: float = PATIENCE) -> T:
        """What ``work`` returns or raises on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def close(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


def until(true: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """The first true value of ``true``; fails with ``what`` if none comes in time."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        threading.Event().wait(LOOK_SECONDS)
    return value
