"""Calls of the models while what stands behind them is killed, stopped and replaced: each answer is counted once."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.faults import measures
from tests.faults.loops import until
from tests.faults.outside import FOREVER, SLOWLY
from tests.faults.stands import Stand


@pytest.fixture
def box(stand: Stand) -> str:
    """A box that calls."""
    made = stand.mint()
    stand.quiet()
    return made


@pytest.mark.smoke
def test_a_proxy_that_is_killed_forgets_no_answer_but_those_under_way(
    stand: Stand, box: str, size: Callable[[int, int], int]
) -> None:
    for _ in range(size(20, 1)):
        stand.talks.ask(box, 4)
        talks = [stand.talks.begin(box, FOREVER) for _ in range(3)]
        until(lambda talks=talks: all(talk.answered for talk in talks), "answers are under way")  # type: ignore[misc]
        until(lambda: stand.unmetered() == 0, "what is over is counted")
        stand.children["proxy"].kill()
        until(lambda: not stand.talks.under_way(), "nothing is under way")
        stand.talks.ask(box, 2)
        measures.recovered("proxy killed with answers under way", stand.quiet())


@pytest.mark.smoke
def test_a_proxy_that_is_replaced_ends_its_answers_and_counts_them(
    stand: Stand, box: str, size: Callable[[int, int], int]
) -> None:
    for _ in range(size(10, 1)):
        talks = [stand.talks.begin(box, SLOWLY) for _ in range(3)]
        until(lambda talks=talks: all(talk.answered for talk in talks), "answers are under way")  # type: ignore[misc]
        stand.restart(["proxy"])
        assert [talk.usage is None for talk in talks] == [False] * 3
        measures.recovered("proxy replaced with answers under way", stand.quiet())


@pytest.mark.parametrize("name", ["proxy", "meter"])
def test_who_counts_may_stand_still(stand: Stand, box: str, name: str, size: Callable[[int, int], int]) -> None:
    for _ in range(size(5, 1)):
        talks = [stand.talks.begin(box, SLOWLY) for _ in range(5)]
        until(lambda talks=talks: any(talk.answered for talk in talks), "answers are under way")  # type: ignore[misc]
        stand.children[name].send(signal.SIGSTOP)
        stand.postgres_wire.break_all()
        stand.valkey_wire.break_all()
        talks += [stand.talks.begin(box) for _ in range(5)]
        stand.children[name].send(signal.SIGCONT)
        until(lambda talks=talks: all(talk.over for talk in talks), "every answer ends")  # type: ignore[misc]
        measures.recovered(f"{name} stopped and continued under calls", stand.quiet())


def test_answers_are_counted_although_the_meter_is_killed(
    stand: Stand, box: str, size: Callable[[int, int], int]
) -> None:
    for _ in range(size(10, 1)):
        stand.talks.ask(box, 10)
        stand.children["meter"].kill()
        stand.talks.ask(box, 10)
        measures.recovered("meter killed under calls", stand.quiet())


def test_answers_are_counted_without_the_queue(stand: Stand, box: str, size: Callable[[int, int], int]) -> None:
    for _ in range(size(10, 1)):
        under_way = [stand.talks.begin(box, SLOWLY) for _ in range(4)]
        until(lambda talks=under_way: all(talk.answered for talk in talks), "answers are under way")  # type: ignore[misc]
        stand.kill_queue()
        try:
            wanted = {talk.request_id for talk in stand.talks.ask(box, 4)}
            until(lambda wanted=wanted: wanted <= stand.rows(), "they are counted")  # type: ignore[misc]
        finally:
            stand.start_queue()
        measures.recovered("queue killed under calls", stand.quiet())


def test_answers_are_counted_although_postgres_was_away(
    stand: Stand, box: str, size: Callable[[int, int], int]
) -> None:
    for _ in range(size(10, 1)):
        stand.talks.ask(box, 4)
        talks = [stand.talks.begin(box, SLOWLY) for _ in range(4)]
        until(lambda talks=talks: all(talk.answered for talk in talks), "answers are under way")  # type: ignore[misc]
        stand.kill_postgres()
        try:
            until(lambda talks=talks: all(talk.over for talk in talks), "every answer ends")  # type: ignore[misc]
        finally:
            stand.start_postgres()
        measures.recovered("postgres killed under calls", stand.quiet())
