"""Processes that are stopped and continued, believe another time, have no disk left or are all replaced under load."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import httpx
import pytest

from controller.domain.plans import PlanName
from tests.faults import measures, shoppers
from tests.faults.children import Child
from tests.faults.loops import until
from tests.faults.stands import OURS, Stand

PAUSES = ("gitops.claimed", "gitops.before_push", "gitops.after_push")
LOCKED = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"


@contextmanager
def second_writer(stand: Stand) -> Iterator[Child]:
    """A writer with a clone of its own, as a deployment has while one replaces another."""
    first = stand.children["writer"].command
    env = {**first.env, "GIT_CLONE_DIR": str(stand.folder / "writer2" / "clone.git")}
    child = Child(stand.loop, replace(first, name="writer2", log=stand.logs / "writer2.log", env=env))
    child.says("ready for action")
    yield child
    child.end()


@pytest.mark.parametrize("point", PAUSES)
def test_a_writer_stopped_there_lands_nothing_under_its_old_lock(
    stand: Stand, point: str, size: Callable[[int, int], int]
) -> None:
    for _ in range(size(5, 1)):
        box_id = stand.mint()
        stand.quiet()
        stand.arm([point], "stop")
        assert stand.admin("POST", f"/boxes/{box_id}/resize", {"plan": "team"}).status_code == 202
        until(lambda: stand.hits() == [point], f"the writer stops at {point}")
        with second_writer(stand):
            stand.sql(f"SELECT pg_terminate_backend(pid) FROM ({LOCKED}) AS held")
            assert stand.admin("POST", f"/boxes/{box_id}/suspend").status_code == 202
            stand.quiet()
            stand.children["writer"].send(signal.SIGCONT)
            assert stand.admin("POST", f"/boxes/{box_id}/reactivate").status_code == 202
            measures.recovered("writer stopped and overtaken", stand.quiet())
        assert stand.admin("POST", f"/boxes/{box_id}/resize", {"plan": "starter"}).status_code == 202


@pytest.mark.parametrize("name", ["worker", "writer", "watcher", "sweeper", "api", "notices"])
def test_a_process_that_stood_still_goes_on(stand: Stand, name: str) -> None:
    purchases = [shoppers.buy(stand) for _ in range(2)]
    stand.children[name].send(signal.SIGSTOP)
    stand.postgres_wire.break_all()  # whatever it held in Postgres is let go of meanwhile
    stand.valkey_wire.break_all()
    shoppers.renew(stand, purchases[0])
    shoppers.resize(stand, purchases[1], PlanName.PRO)
    stand.children[name].send(signal.SIGCONT)
    measures.recovered("a process stopped and continued", shoppers.settle(stand))


@pytest.mark.parametrize("error", ["PT10M", "-PT10M"], ids=["ahead", "behind"])
@pytest.mark.parametrize("name", ["worker", "writer", "sweeper", "watcher", "api"])
def test_a_clock_ten_minutes_off_delays_nothing(stand: Stand, name: str, error: str) -> None:
    stand.restart([name], CLOCK_ERROR=error)
    stand.arm(["billing.fetched", "gitops.claimed"], "raise")
    purchase = shoppers.buy(stand)
    shoppers.resize(stand, purchase, PlanName.PRO)
    box_id = until(lambda: stand.box_of(purchase.subscription), "the box is there")
    for verb in ("suspend", "reactivate", "suspend", "reactivate"):
        assert stand.admin("POST", f"/boxes/{box_id}/{verb}").status_code == 202
    until(lambda: shoppers.delivered(stand), "everything is delivered")
    measures.recovered("a clock ten minutes off", stand.quiet(60))
    stand.restart([name])


def test_a_full_disk_is_a_visible_reason_and_no_loss(stand: Stand) -> None:
    box_id = stand.mint()
    stand.quiet()
    # the group's leader keeps its log; only the process that runs git has no room
    writers = stand.children["writer"].pids()[1:]
    for pid in writers:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (128, resource.RLIM_INFINITY))
    assert stand.admin("POST", f"/boxes/{box_id}/resize", {"plan": "team"}).status_code == 202
    until(lambda: stand.sql("SELECT 1 FROM operator_jobs WHERE error IS NOT NULL"), "the reason is visible")
    for pid in writers:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    measures.recovered("disk full below the clone", stand.quiet())


def test_all_processes_are_replaced_under_load(stand: Stand, size: Callable[[int, int], int]) -> None:
    boxes = [stand.mint() for _ in range(3)]
    ended, refused = threading.Event(), list[int]()

    def load() -> None:
        step = 0
        while not ended.is_set():
            step += 1
            plan = ("starter", "pro", "team")[step % 3]
            stand.talks.begin(boxes[step % 3])
            answered = until(partial(_resize, stand, boxes[step % 3], plan), "an answer")
            if answered != 202:
                refused.append(answered)

    thread = threading.Thread(target=load)
    thread.start()
    for _ in range(size(5, 1)):
        purchases = [shoppers.buy(stand) for _ in range(2)]
        shoppers.renew(stand, purchases[0])
        stand.restart(OURS)
    ended.set()
    thread.join(60)
    measures.recovered("all processes replaced one by one", shoppers.settle(stand))
    assert refused == []


def _resize(stand: Stand, box_id: str, plan: str) -> int:
    """The status; 0 while nobody listens."""
    try:
        return stand.admin("POST", f"/boxes/{box_id}/resize", {"plan": plan}).status_code
    except httpx.HTTPError:
        return 0
