"""Every error has a stable code, facts and the status of its branch of the tree."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controller.core import errors
from controller.core.errors import CloudError

STATUSES = {
    "Refused": 400, "Invalid": 422, "NotAllowed": 401, "NotFound": 404, "Conflict": 409, "LimitReached": 429,
    "Temporary": 503, "Permanent": 500, "CloudError": 500,
}  # fmt: skip


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_each_branch_has_its_status(name: str, status: int) -> None:
    kind: type[CloudError] = getattr(errors, name)
    assert kind("some_code").status == status


def test_the_text_is_the_code_and_its_facts() -> None:
    assert str(errors.NotFound("box_unknown", box="01k", tries=2)) == "box_unknown (box=01k, tries=2)"
    assert str(errors.NotFound("box_unknown")) == "box_unknown"


def test_a_temporary_error_says_when_to_come_back() -> None:
    assert errors.Temporary("away").retry_after == timedelta(seconds=1)
    later = errors.Temporary("away", retry_after=timedelta(minutes=2), reason="x")
    assert (later.retry_after, later.facts) == (timedelta(minutes=2), {"reason": "x"})


def test_foreign_text_is_cut() -> None:
    assert len(errors.foreign("x" * 10_000)) == errors.FOREIGN_TEXT_LIMIT
