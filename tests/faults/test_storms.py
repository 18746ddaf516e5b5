"""Thousands of calls by several customers while everything around them is killed, flushed and paused in turn."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable

import httpx
import pytest

from tests.faults import measures
from tests.faults.loops import until
from tests.faults.outside import SLOWLY
from tests.faults.stands import Stand

AT_ONCE = 24
"""Calls under way at any time."""


def kill_proxy(stand: Stand) -> None:
    stand.children["proxy"].kill()
    until(stand.answers, "the proxy is back")


def kill_meter(stand: Stand) -> None:
    stand.children["meter"].kill()


def kill_postgres(stand: Stand) -> None:
    stand.kill_postgres()
    stand.start_postgres()


def kill_queue(stand: Stand) -> None:
    stand.kill_queue()
    stand.start_queue()


def flush_queue(stand: Stand) -> None:
    stand.redis().flushall()


def pause_queue(stand: Stand) -> None:
    stand.signal_queue(signal.SIGSTOP)
    until(lambda: stand.talks.under_way_count() < AT_ONCE, "calls go on without it")
    stand.signal_queue(signal.SIGCONT)


FAULTS = (kill_proxy, flush_queue, kill_meter, kill_postgres, kill_queue, pause_queue)


def asked_upstream(stand: Stand) -> int:
    return int(httpx.get(f"{stand.outside.model_url}/_control/usage", timeout=60).json()["requests"])


@pytest.mark.smoke
def test_every_answer_of_a_storm_is_counted_once(stand: Stand, size: Callable[[int, int], int]) -> None:
    boxes = [stand.mint() for _ in range(size(10, 3))]
    stand.quiet()
    calls, kills, away = size(5000, 90), 0, 0
    asked, had = asked_upstream(stand), len(stand.rows())
    faults = itertools.cycle(FAULTS)
    for number in range(calls):
        text = SLOWLY if number % 5 == 0 else "oi"
        stand.talks.begin(boxes[number % len(boxes)], text, stream=number % 2 == 0, leave=number % 10 == 4)
        until(lambda: stand.talks.under_way_count() < AT_ONCE, "calls end")
        if number % max(1, calls // size(24, 6)) == 10:
            fault = next(faults)
            fault(stand)
            kills += fault is kill_proxy
            away += fault is kill_postgres  # what is not durable is not delivered
    measures.recovered("storm of calls", stand.quiet())
    new = len(stand.rows()) - had
    measures.counted("storm", {"calls": calls, "rows": new, "kills of the proxy": kills})
    assert new >= calls // 10
    assert asked_upstream(stand) - asked - new <= (kills + away) * AT_ONCE
