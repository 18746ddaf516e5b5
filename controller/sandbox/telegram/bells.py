"""Wakes those who wait: ``updates:<bot>``, ``sent:<bot>``, ``chat:<bot>:<user>``, and ``webhooks`` for the pusher."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Bells:
    """Wakes those who wait for something of a name."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    def ring(self, *names: str) -> None:
        """Wake everybody who listens to one of ``names``."""
        for name in names:
            for bell in self._waiting.get(name, ()):
                bell.set()

    @contextmanager
    def listening(self, *names: str) -> Iterator[asyncio.Event]:
        """An event that is set at each ring of one of ``names``."""
        bell = asyncio.Event()
        for name in names:
            self._waiting[name].add(bell)
        try:
            yield bell
        finally:
            for name in names:
                self._waiting[name].discard(bell)
                if not self._waiting[name]:
                    del self._waiting[name]
