"""A fresh mail sink for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.mail.serving import Sink, sink_in


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    """A sink without mails."""
    with sink_in(tmp_path) as opened:
        yield opened
