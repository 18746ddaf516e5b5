from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, watch

from tests.sandbox.cluster import objects
from tests.sandbox.cluster.serving import Served, served

MERGE = "application/merge-patch+json"
ARGO = ("argoproj.io", "v1alpha1", "here", "applications")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "objects.sqlite") as held:
        held.core.create_namespace(objects.namespace("here"))
        yield held


def seen(cluster: Served, **asked: Any) -> list[tuple[str, str]]:
    """Type and name of what a watch of all ConfigMaps gives until its short time is over."""
    stream = watch.Watch().stream(cluster.core.list_config_map_for_all_namespaces, **{"timeout_seconds": 0, **asked})
    return [(event["type"], event["object"].metadata.name) for event in stream]


def test_a_watch_from_a_list_gives_every_later_change_in_order(cluster: Served) -> None:
    listed = cluster.core.list_config_map_for_all_namespaces()
    made = cluster.core.create_namespaced_config_map("here", objects.config())
    cluster.core.patch_namespaced_config_map("settings", "here", {"data": {"colour": "blue"}}, _content_type=MERGE)
    cluster.core.delete_namespaced_config_map("settings", "here")
    changes = ["ADDED", "MODIFIED", "DELETED"]
    told = seen(cluster, resource_version=listed.metadata.resource_version)
    assert told == [(change, "settings") for change in changes]
    assert seen(cluster, resource_version=made.metadata.resource_version) == told[1:]


def test_a_watch_without_a_version_begins_with_what_is_there(cluster: Served) -> None:
    cluster.core.create_namespaced_config_map("here", objects.config("one"))
    cluster.core.create_namespaced_config_map("here", objects.config("two"))
    assert seen(cluster) == [("ADDED", "one"), ("ADDED", "two")]


def test_a_watch_is_told_at_once_of_what_happens_while_it_runs(cluster: Served) -> None:
    cluster.custom.create_namespaced_custom_object(*ARGO, objects.application())
    watching, told, began = watch.Watch(), [], time.monotonic()
    for event in watching.stream(cluster.custom.list_namespaced_custom_object, *ARGO, timeout_seconds=30):
        told.append((event["type"], event["object"]["spec"]["source"]["rev"]))
        if len(told) == 5:
            watching.stop()
        else:
            patch = {"spec": {"source": {"rev": len(told) + 1}}}
            cluster.custom.patch_namespaced_custom_object(*ARGO, "box1", patch, _content_type=MERGE)
    assert told == [("ADDED", 1), *(("MODIFIED", rev) for rev in (2, 3, 4, 5))]
    assert time.monotonic() - began < 10


def test_an_object_that_enters_or_leaves_the_selection_is_added_or_deleted(cluster: Served) -> None:
    version = cluster.core.list_config_map_for_all_namespaces().metadata.resource_version
    cluster.core.create_namespaced_config_map("here", objects.config(labels={"colour": "red"}))
    for colour in ("blue", "green", "red"):
        patch = {"metadata": {"labels": {"colour": colour}}}
        cluster.core.patch_namespaced_config_map("settings", "here", patch, _content_type=MERGE)
    told = seen(cluster, resource_version=version, label_selector="colour=red")
    assert told == [("ADDED", "settings"), ("DELETED", "settings"), ("ADDED", "settings")]


def test_a_watch_sees_its_own_namespace_and_fields_only(cluster: Served) -> None:
    cluster.core.create_namespace(objects.namespace("there"))
    for name, space in (("one", "here"), ("two", "here"), ("one", "there")):
        cluster.core.create_namespaced_config_map(space, objects.config(name, space))
    call = cluster.core.list_namespaced_config_map
    stream = watch.Watch().stream(call, "here", field_selector="metadata.name=one", timeout_seconds=0)
    assert [(e["object"].metadata.namespace, e["object"].metadata.name) for e in stream] == [("here", "one")]


def test_a_bookmark_carries_the_newest_version_when_it_was_asked_for(cluster: Served) -> None:
    version = cluster.core.list_config_map_for_all_namespaces().metadata.resource_version
    newest = cluster.core.create_namespaced_pod("here", objects.pod()).metadata.resource_version
    call = cluster.core.list_config_map_for_all_namespaces
    asked = {"resource_version": version, "timeout_seconds": 0, "allow_watch_bookmarks": True}
    (event,) = watch.Watch().stream(call, **asked)
    assert (event["type"], event["raw_object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", newest)
    assert seen(cluster, resource_version=version) == []


@pytest.mark.parametrize("version", ["999999", "1"])
def test_a_version_that_is_not_kept_is_told_as_410(tmp_path: Path, version: str) -> None:
    with served(tmp_path / "objects.sqlite") as first:
        first.core.create_namespace(objects.namespace("here"))
    with served(tmp_path / "objects.sqlite") as second, pytest.raises(client.ApiException) as refused:
        seen(second, resource_version=version)
    assert refused.value.status == 410


def test_a_watch_goes_on_over_a_restart_when_nothing_was_missed(tmp_path: Path) -> None:
    with served(tmp_path / "objects.sqlite") as first:
        first.core.create_namespace(objects.namespace("here"))
        version = first.core.list_config_map_for_all_namespaces().metadata.resource_version
    with served(tmp_path / "objects.sqlite") as second:
        second.core.create_namespaced_config_map("here", objects.config())
        assert seen(second, resource_version=version) == [("ADDED", "settings")]


def test_a_watch_ends_when_its_time_is_over(cluster: Served) -> None:
    began = time.monotonic()
    assert seen(cluster, timeout_seconds=1) == []
    assert 0.9 < time.monotonic() - began < 10
