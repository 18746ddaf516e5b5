"""A fresh model for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.llm.serving import Model, model_in


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Model]:
    """A model without a script."""
    with model_in(tmp_path) as opened:
        yield opened
