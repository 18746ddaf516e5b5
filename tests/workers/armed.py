"""Failpoints armed in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.core import failpoints


@contextmanager
def raising(folder: Path, *points: str) -> Iterator[None]:
    """Each of the ``points`` raises InjectedFault once while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAILPOINTS", ",".join(f"{point}:raise" for point in points))
        patch.setenv("FAILPOINT_LOG", str(folder / "hits"))
        failpoints._armed.cache_clear()
        try:
            yield
        finally:
            failpoints._armed.cache_clear()
