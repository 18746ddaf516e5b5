"""Events: about one object, counted, bounded and aged."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from controller.core import clock
from controller.sandbox.cluster import events
from controller.sandbox.cluster.events import KEPT, MOST_IN_NAMESPACE, Recorder
from controller.sandbox.cluster.resources import EVENT, Object
from controller.sandbox.cluster.store import Store
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.waiting import until


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "objects.sqlite")
    made.create(objects.namespace())
    return made


@pytest.fixture
def pod(store: Store) -> Object:
    return store.create(objects.pod())


def test_an_event_says_what_happened_to_whom_by_whom(store: Store, pod: Object) -> None:
    Recorder(store, "kubelet").warn(pod, "Unhealthy", "probe failed")
    [event] = store.list(EVENT)
    assert (event["type"], event["reason"], event["source"]) == ("Warning", "Unhealthy", {"component": "kubelet"})
    assert event["involvedObject"]["uid"] == pod["metadata"]["uid"]
    assert (event["involvedObject"]["kind"], event["count"]) == ("Pod", 1)


def test_what_repeats_is_counted_and_what_differs_is_not(store: Store, pod: Object) -> None:
    tells = Recorder(store, "kubelet")
    for message in ("one", "one", "two", "one"):
        tells.normal(pod, "Started", message)
    assert sorted((event["message"], event["count"]) for event in store.list(EVENT)) == [("one", 3), ("two", 1)]


def test_a_namespace_keeps_only_so_many(store: Store, pod: Object) -> None:
    tells = Recorder(store, "kubelet")
    for number in range(MOST_IN_NAMESPACE + 5):
        tells.normal(pod, "Started", str(number))
    assert len(store.list(EVENT)) == MOST_IN_NAMESPACE


def test_an_event_in_a_namespace_that_is_gone_is_dropped(store: Store) -> None:
    Recorder(store, "kubelet").normal(objects.pod(space="nowhere", uid="1"), "Started", "x")
    assert store.list(EVENT) == []


async def test_an_event_goes_an_hour_after_it_was_last_seen(store: Store, pod: Object) -> None:
    with clock.frozen(clock.now() - KEPT - timedelta(seconds=5)):
        Recorder(store, "kubelet").normal(pod, "Old", "x")
    Recorder(store, "kubelet").normal(pod, "New", "x")
    aging = asyncio.create_task(events.age(store))
    await until(lambda: [event["reason"] for event in store.list(EVENT)] == ["New"])
    aging.cancel()
