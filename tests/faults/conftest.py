"""One stand for all scenarios, judged by the invariants after each of them.

Sizes: ``make test-faults`` runs everything at full size; a plain run only what is marked ``smoke``, and small.
``FAULTS_SCALE`` multiplies the sizes of a full run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.faults import invariants
from tests.faults.stands import Stand

FULL = os.environ.get("FAULTS") == "full"
SCALE = float(os.environ.get("FAULTS_SCALE", "1"))
HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A plain run leaves out what is not smoke."""
    if FULL:
        return
    left_out = [one for one in items if HERE in one.path.parents and one.get_closest_marker("smoke") is None]
    if left_out:
        items[:] = [one for one in items if one not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A scenario that failed shows what each process said last, and what Stripe still has to deliver."""
    report = yield
    stand = getattr(item, "funcargs", {}).get("stand")
    if report.failed and stand is not None:
        report.sections += stand.last_words()
    return report


@pytest.fixture
def size() -> Callable[[int, int], int]:
    """``size(full, smoke)``: how many of something this run takes."""
    return lambda full, smoke: max(1, round(full * SCALE)) if FULL else smoke


@pytest.fixture(scope="package")
def standing() -> Iterator[Stand]:
    """The stand, started once."""
    stand = Stand()
    yield stand
    stand.close()


@pytest.fixture
def stand(standing: Stand) -> Iterator[Stand]:
    """The stand, quiet before; afterwards it must be quiet again and break no invariant."""
    assert not standing.given_up, "an earlier scenario left the stand unquiet"
    yield standing
    standing.quiet()
    assert invariants.broken(standing) == []
