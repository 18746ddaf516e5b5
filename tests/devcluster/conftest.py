"""A developer's machine for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.devcluster.machines import Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """With every executable, and no cluster yet."""
    return Machine(tmp_path / "machine", monkeypatch)
