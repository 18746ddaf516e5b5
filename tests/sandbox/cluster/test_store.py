from __future__ import annotations

import asyncio
import gc
import sqlite3
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.core.errors import Conflict, Invalid, NotFound
from controller.sandbox.cluster.admission import Interlocked
from controller.sandbox.cluster.resources import CONFIG_MAP, KINDS, NAMESPACE, POD, PVC, Object
from controller.sandbox.cluster.store import HISTORY, Gone, Store
from tests.sandbox.cluster import objects


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "objects.sqlite")
    made.create(objects.namespace("here"))
    yield made
    made.close()


def everything(store: Store) -> list[Object]:
    return [obj for kind in KINDS for obj in store.list(kind)]


def test_a_new_object_gets_its_identity_from_the_server(store: Store) -> None:
    made = store.create(objects.config(uid="mine", resourceVersion="99", deletionTimestamp="then"))
    meta = made["metadata"]
    assert meta["uid"] != "mine"
    assert meta["resourceVersion"] == str(store.version)
    assert meta["generation"] == 1
    assert meta["creationTimestamp"].endswith("Z")
    assert "deletionTimestamp" not in meta


def test_a_taken_name_an_unknown_namespace_and_a_nameless_object_are_refused(store: Store) -> None:
    store.create(objects.config())
    with pytest.raises(Conflict, match="exists"):
        store.create(objects.config())
    with pytest.raises(NotFound, match="namespace_unknown"):
        store.create(objects.config(space="nowhere"))
    with pytest.raises(Invalid, match="name_missing"):
        store.create(objects.config(name=""))


def test_generated_names_differ(store: Store) -> None:
    names = {store.create(objects.config(name="", generateName="set-"))["metadata"]["name"] for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("set-") for name in names)


def test_namespaces_and_pods_begin_with_a_phase(store: Store) -> None:
    space = store.create(objects.namespace("there"))
    assert space["status"] == {"phase": "Active"}
    assert space["metadata"]["labels"] == {"kubernetes.io/metadata.name": "there"}
    assert store.create(objects.pod())["status"] == {"phase": "Pending"}


def test_what_was_returned_may_be_changed_without_harm(store: Store) -> None:
    store.create(objects.config())["data"]["colour"] = "green"
    store.list(CONFIG_MAP)[0]["data"]["colour"] = "blue"
    found = store.get(CONFIG_MAP, "here", "settings")
    assert found is not None
    assert found["data"] == {"colour": "red"}


def test_the_generation_counts_changes_of_substance_only(store: Store) -> None:
    made = store.create(objects.pod())
    labelled = store.update({**made, "metadata": {**made["metadata"], "labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 1
    changed = store.update({**labelled, "spec": {**labelled["spec"], "nodeName": "one"}})
    assert changed["metadata"]["generation"] == 2


def test_an_update_without_a_change_leaves_the_version_as_it_is(store: Store) -> None:
    made, version = store.create(objects.config()), store.version + 0
    assert store.update(objects.config()) == made
    assert store.version == version


def test_an_update_cannot_change_the_status_nor_what_the_server_sets(store: Store) -> None:
    made = store.create(objects.pod())
    changed = store.update(objects.pod(uid="mine", labels={"a": "b"}) | {"status": {"phase": "Running"}})
    assert changed["status"] == {"phase": "Pending"}
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]


def test_an_update_from_an_old_version_or_of_nothing_is_refused(store: Store) -> None:
    old = store.create(objects.config())
    store.update({**old, "data": {"colour": "green"}})
    with pytest.raises(Conflict, match="stale"):
        store.update({**old, "data": {"colour": "blue"}})
    with pytest.raises(NotFound):
        store.update(objects.config("other"))


def test_a_pod_with_a_process_is_marked_until_the_kubelet_deletes_it(store: Store) -> None:
    store.create(objects.pod())
    assert store.delete(POD, "here", "agent")
    marked = store.get(POD, "here", "agent")
    assert marked is not None
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 45
    assert store.delete(POD, "here", "agent", now=True)
    assert store.get(POD, "here", "agent") is None
    assert not store.delete(POD, "here", "agent")


def test_an_update_does_not_revive_an_ending_pod(store: Store) -> None:
    store.create(objects.pod())
    store.delete(POD, "here", "agent", grace_seconds=0)
    changed = store.update(objects.pod(labels={"a": "b"}))
    assert changed["metadata"]["deletionGracePeriodSeconds"] == 0
    assert "deletionTimestamp" in changed["metadata"]


def test_a_pod_that_has_ended_goes_at_once(store: Store) -> None:
    store.create(objects.pod())
    store.update_status(POD, "here", "agent", {"phase": "Succeeded"})
    store.delete(POD, "here", "agent")
    assert store.get(POD, "here", "agent") is None


def test_a_namespace_ends_only_after_its_pods_and_keeps_their_volume_so_long(store: Store) -> None:
    for obj in (objects.pod(), objects.volume(), objects.config()):
        store.create(obj)
    store.delete(NAMESPACE, None, "here")
    space = store.get(NAMESPACE, None, "here")
    assert space is not None
    assert space["status"] == {"phase": "Terminating"}
    assert store.get(PVC, "here", "data") is not None
    assert store.get(CONFIG_MAP, "here", "settings") is None
    store.delete(POD, "here", "agent", now=True)
    assert everything(store) == []


def test_nothing_new_starts_in_an_ending_namespace(store: Store) -> None:
    store.create(objects.pod())
    store.delete(NAMESPACE, None, "here")
    with pytest.raises(NotFound, match="namespace_unknown"):
        store.create(objects.config())


def test_everything_in_a_deleted_namespace_is_told_as_deleted(store: Store) -> None:
    store.create(objects.config())
    store.create(objects.volume())
    before = store.version
    store.delete(NAMESPACE, None, "here")
    gone = [event.kind for event in store.since(before) if event.type == "DELETED"]
    assert gone == [CONFIG_MAP, PVC, NAMESPACE]


def test_a_box_is_deleted_only_with_the_approval(store: Store) -> None:
    held = store.create(objects.box())
    store.create(objects.volume(space="box-1"))
    before = everything(store)
    for kind, space, name in ((NAMESPACE, None, "box-1"), (PVC, "box-1", "data")):
        with pytest.raises(Interlocked, match=r"deletion_not_approved.*destroy-approved"):
            store.delete(kind, space, name)
    assert everything(store) == before
    store.update({**objects.box(approved=True), "status": held["status"]})
    store.delete(NAMESPACE, None, "box-1")
    assert store.get(NAMESPACE, None, "box-1") is None


@pytest.mark.parametrize("value", ["false", "", "True", "yes"])
def test_only_the_word_true_approves(store: Store, value: str) -> None:
    space = objects.box()
    space["metadata"]["annotations"] = {"openclaw.cloud/destroy-approved": value}
    store.create(space)
    with pytest.raises(Interlocked):
        store.delete(NAMESPACE, None, "box-1")


def test_a_deleted_owner_takes_what_it_owns_but_no_box_volume(store: Store) -> None:
    store.create(objects.box())
    owner = store.create(objects.config(space="box-1"))
    owned: Object = {"ownerReferences": [{"uid": owner["metadata"]["uid"]}]}
    store.create(objects.config("owned", space="box-1", **owned))
    store.create(objects.volume(space="box-1", **owned))
    store.delete(CONFIG_MAP, "box-1", "settings")
    assert [obj["metadata"]["name"] for obj in everything(store)] == ["box-1", "here", "data"]


def test_a_list_can_be_narrowed_to_a_namespace_and_labels(store: Store) -> None:
    store.create(objects.namespace("there"))
    store.create(objects.config("one", labels={"colour": "red", "size": "big"}))
    store.create(objects.config("two", labels={"colour": "blue"}))
    store.create(objects.config("three", space="there", labels={"colour": "red"}))
    assert [obj["metadata"]["name"] for obj in store.list(CONFIG_MAP, labels={"colour": "red"})] == ["one", "three"]
    assert [obj["metadata"]["name"] for obj in store.list(CONFIG_MAP, "here")] == ["one", "two"]


def test_events_since_a_version_are_those_after_it(store: Store) -> None:
    before = store.version
    store.create(objects.config())
    store.delete(CONFIG_MAP, "here", "settings")
    assert [event.type for event in store.since(before)] == ["ADDED", "DELETED"]
    assert store.since(store.version) == []


def test_events_that_are_no_longer_kept_and_versions_never_reached_are_gone(store: Store) -> None:
    before = store.version
    made = store.create(objects.config())
    for number in range(HISTORY):
        made = store.update({**made, "data": {"number": str(number)}})
    with pytest.raises(Gone):
        store.since(before)
    assert len(store.since(before + 1)) == HISTORY
    with pytest.raises(Gone):
        store.since(store.version + 1)


async def test_a_watch_misses_nothing_after_its_call_and_sees_only_its_kinds(store: Store) -> None:
    watching = store.watch(CONFIG_MAP)
    store.create(objects.pod())
    store.create(objects.config())
    async with asyncio.timeout(60):
        event = await anext(watching)
    assert (event.type, event.kind, event.version) == ("ADDED", CONFIG_MAP, store.version)
    assert watching.idle()


def test_a_watch_that_nobody_holds_leaves_the_store(store: Store) -> None:
    watching = weakref.ref(store.watch(CONFIG_MAP))
    gc.collect()
    assert watching() is None


def test_a_restarted_store_knows_everything_and_never_uses_a_version_twice(store: Store, tmp_path: Path) -> None:
    store.create(objects.config())
    store.create(objects.config("brief"))
    store.delete(CONFIG_MAP, "here", "brief")
    again = Store(tmp_path / "objects.sqlite")
    assert everything(again) == everything(store)
    assert again.version == store.version
    with pytest.raises(Gone):
        again.since(store.version - 1)
    again.close()


def test_a_restart_finishes_a_namespace_that_a_crash_left_half_deleted(store: Store, tmp_path: Path) -> None:
    store.create(objects.pod())
    store.create(objects.volume())
    store.delete(NAMESPACE, None, "here")
    store.close()
    with sqlite3.connect(tmp_path / "objects.sqlite") as file:
        assert file.execute("DELETE FROM objects WHERE key LIKE '/pods/%'").rowcount == 1
    again = Store(tmp_path / "objects.sqlite")
    assert everything(again) == []
    again.close()


_OPERATIONS = st.lists(st.tuples(st.sampled_from(["make", "change", "delete"]), st.integers(0, 3)), max_size=30)


@given(_OPERATIONS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_was_done_a_restart_changes_nothing(store: Store, tmp_path: Path, done: list[tuple[str, int]]) -> None:
    for verb, number in done:
        name = f"c{number}"
        found = store.get(CONFIG_MAP, "here", name)
        if verb == "make" and found is None:
            store.create(objects.config(name))
        elif verb == "change" and found is not None:
            store.update({**found, "data": {"version": str(store.version)}})
        elif verb == "delete":
            store.delete(CONFIG_MAP, "here", name)
    again = Store(tmp_path / "objects.sqlite")
    assert (everything(again), again.version) == (everything(store), store.version)
    again.close()
