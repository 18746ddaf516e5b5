"""Every process follows Postgres' clock, so that what one writes as due is due for all."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from controller.core import clock
from controller.core.db import Database
from controller.core.settings import SettingsError

MINUTES = timedelta(minutes=10)


@pytest.fixture(params=["PT10M", "-PT10M"], ids=["ahead", "behind"])
def wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """By how much this process's clock is wrong."""
    monkeypatch.setenv("APP_ENV", "test")
    monkeypatch.setenv("CLOCK_ERROR", request.param)
    monkeypatch.setattr(clock, "_clock", clock._Clock())
    return -MINUTES if request.param.startswith("-") else MINUTES


def off() -> timedelta:
    return timedelta(seconds=clock.now().timestamp() - time.time())


async def test_a_wrong_clock_is_right_after_the_first_transaction(database: Database, wrong: timedelta) -> None:
    assert abs(off() - wrong) < timedelta(minutes=1)
    async with database.transaction():
        assert abs(off()) < timedelta(minutes=1)
    assert abs(off()) < timedelta(minutes=1)


def test_a_wrong_clock_is_refused_outside_a_test(wrong: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(SettingsError):
        clock.now()


def test_a_difference_that_the_network_may_have_made_is_left_alone(wrong: timedelta) -> None:
    assert clock.follow(clock.now() + clock.TOLERATED / 2) == timedelta(0)
    assert abs(off() - wrong) < timedelta(minutes=1)
