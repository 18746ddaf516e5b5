"""The queue may vanish, forget, hang or refuse at any instant: it costs time and nothing else."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from controller.domain.plans import PlanName
from tests.faults import measures, shoppers
from tests.faults.loops import until
from tests.faults.stands import Stand

PLANS = (PlanName.STARTER, PlanName.TEAM)


@contextmanager
def killed(stand: Stand) -> Iterator[None]:
    stand.kill_queue()
    try:
        yield
    finally:
        stand.start_queue()


@contextmanager
def flushed(stand: Stand) -> Iterator[None]:
    stand.redis().flushall()
    yield
    stand.redis().flushall()


@contextmanager
def hanging(stand: Stand) -> Iterator[None]:
    stand.signal_queue(signal.SIGSTOP)
    try:
        yield
    finally:
        stand.signal_queue(signal.SIGCONT)


@contextmanager
def pausing_clients(stand: Stand) -> Iterator[None]:
    stand.redis().client_pause(4_000)
    yield
    until(lambda: _pings(stand), "the pause is over")


@contextmanager
def a_replica_of_nowhere(stand: Stand) -> Iterator[None]:
    stand.redis().replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        stand.redis().replicaof("NO", "ONE")


@contextmanager
def missing_its_replicas(stand: Stand) -> Iterator[None]:
    stand.redis().config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        stand.redis().config_set("min-replicas-to-write", 0)


FAULTS = (
    pytest.param(killed, marks=pytest.mark.smoke),
    flushed, hanging, pausing_clients, a_replica_of_nowhere, missing_its_replicas,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_work_that_ran_and_failed_meanwhile_is_done_afterwards(
    stand: Stand, fault: Callable[[Stand], object], size: Callable[[int, int], int]
) -> None:
    caller = stand.mint()
    for _ in range(size(5, 1)):
        stand.arm(["billing.fetched", "gitops.claimed"], "raise", times=2)
        shoppers.buy(stand)
        with fault(stand):  # type: ignore[attr-defined]
            purchases = [shoppers.buy(stand) for _ in range(3)]
            if fault is not flushed:  # what the meter had not read yet would be gone
                stand.talks.ask(caller, 2)
            until(lambda: shoppers.delivered(stand), "Stripe has its answers although the queue is away")
        shoppers.resize(stand, purchases[0], PlanName.PRO)
        measures.recovered(f"queue {fault.__name__}", shoppers.settle(stand))


def test_delayed_jobs_run_after_the_queue_was_restarted(stand: Stand, size: Callable[[int, int], int]) -> None:
    boxes = [stand.mint() for _ in range(size(20, 2))]
    stand.quiet()
    stand.children["writer"].stop()
    for step in range(10):
        for box_id in boxes:
            assert stand.admin("POST", f"/boxes/{box_id}/resize", {"plan": PLANS[step % 2]}).status_code == 202
    stand.sql("UPDATE operator_jobs SET next_attempt_at = now() + interval '5 s' WHERE state = 'queued'")
    stand.children["writer"].start()
    stand.kill_queue()
    stand.start_queue()
    measures.recovered("200 delayed jobs over a queue restart (5 s due)", stand.quiet(60))


def test_lost_replies_leave_nothing_behind(stand: Stand, size: Callable[[int, int], int]) -> None:
    boxes = [stand.mint() for _ in range(size(10, 2))]
    stand.valkey_wire.lose_replies(0.01)
    try:
        for step in range(size(20, 5)):
            for box_id in boxes:
                assert stand.admin("POST", f"/boxes/{box_id}/resize", {"plan": PLANS[step % 2]}).status_code == 202
        until(lambda: stand.valkey_wire.lost > 0, "a reply is lost")
        measures.recovered("1 % of the queue's replies lost", stand.quiet())
    finally:
        stand.valkey_wire.lose_replies(0)


def test_a_full_queue_costs_no_event(stand: Stand) -> None:
    client = stand.redis()
    client.config_set("maxmemory", 1)
    try:
        shoppers.buy(stand)
        until(lambda: shoppers.delivered(stand), "Stripe has its answers although the queue is full")
    finally:
        client.config_set("maxmemory", 0)
    measures.recovered("queue full", shoppers.settle(stand))


def _pings(stand: Stand) -> bool:
    try:
        return bool(stand.redis().ping())
    except redis.RedisError:
        return False
