"""Ids are ours, ordered by time, and nothing else passes for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controller.core import clock, ids
from controller.core.errors import Invalid

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_a_new_id_is_one_of_ours() -> None:
    made = {ids.new() for _ in range(500)}
    assert len(made) == 500
    assert all(ids.checked(one) == one for one in made)


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = []
    for minutes in range(20):
        with clock.frozen(NOON + timedelta(minutes=minutes)):
            made.append(ids.new())
    assert made == sorted(made)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a" * 25,
        "a" * 27,
        "A" * 26,
        "a" * 25 + "/",
        "../" + "a" * 23,
        "a" * 26 + "\n",
        "ä" * 26,
        "a" * 25 + "\0",
        "١" * 26,
    ],
)
def test_anything_else_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        ids.checked(value)


def test_secrets_have_the_length_that_the_token_format_asks_for() -> None:
    assert {len(ids.secret()) for _ in range(100)} == {43}
