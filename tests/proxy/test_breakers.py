"""A breaker reorders calls; one customer alone opens it only by what no customer can cause."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from proxy.breakers import LONGEST, PAUSE, Breaker


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    at: float = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.mark.parametrize(
    ("customers", "certain", "opened"),
    [("aa", True, False), ("aaa", True, True), ("aaaaaaaaa", False, False), ("aab", False, True), ("ab", False, False)],
)
def test_what_opens_it(customers: str, certain: bool, opened: bool) -> None:
    breaker = Breaker(Clock())
    for who in customers:
        breaker.failed(who, certain=certain)
    assert breaker.open is opened


def test_an_answer_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(Clock())
    for _ in range(9):
        breaker.failed("a", certain=True)
        breaker.failed("b", certain=True)
        breaker.worked()
    assert not breaker.open


def test_after_a_pause_one_call_looks_and_the_pause_grows_while_it_fails() -> None:
    clock = Clock()
    breaker = opened(clock)
    for pause in (PAUSE, PAUSE * 2, PAUSE * 4, LONGEST, LONGEST):
        clock.at += pause.total_seconds() - 0.1
        assert not breaker.ready
        clock.at += 0.2
        assert breaker.ready
        breaker.begin()
        assert not breaker.ready
        breaker.failed("a", certain=True)


def test_a_look_that_finds_it_back_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.at += PAUSE.total_seconds()
    breaker.begin()
    breaker.worked()
    assert (breaker.open, breaker.ready) == (False, True)


def test_a_look_whose_client_left_leaves_it_to_the_next_call() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.at += PAUSE.total_seconds()
    breaker.begin()
    breaker.left()
    assert breaker.ready


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(3):
        breaker.failed("a", certain=True)
    return breaker
