"""Lists in pages and as of a version, watches that begin with what is there, and logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sandbox.cluster import objects
from tests.sandbox.cluster.serving import Served, served

NAMES = ("a", "b", "c")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "objects.sqlite") as held:
        held.core.create_namespace(objects.namespace("here"))
        for name in NAMES:
            held.core.create_namespaced_config_map("here", objects.config(name))
        yield held


def listed(cluster: Served, **query: Any) -> Any:
    answer = httpx.get(f"{cluster.url}/api/v1/namespaces/here/configmaps", params=query, timeout=5)
    return {**answer.json(), "code": answer.status_code}


def names(found: Any) -> list[str]:
    return [one["metadata"]["name"] for one in found["items"]]


def test_pages_continue_where_the_last_one_ended_as_of_its_version(cluster: Served) -> None:
    first = listed(cluster, limit=2)
    assert (names(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 1)
    cluster.core.delete_namespaced_config_map("c", "here")
    rest = listed(cluster, limit=2, **{"continue": first["metadata"]["continue"]})
    assert (names(rest), "continue" in rest["metadata"]) == (["c"], False)
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_an_exact_version_is_listed_as_it_was(cluster: Served) -> None:
    before = listed(cluster)["metadata"]["resourceVersion"]
    cluster.core.delete_namespaced_config_map("a", "here")
    cluster.core.create_namespaced_config_map("here", objects.config("d"))
    then = listed(cluster, resourceVersion=before, resourceVersionMatch="Exact")
    assert (names(then), names(listed(cluster))) == (["a", "b", "c"], ["b", "c", "d"])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"resourceVersionMatch": "Exact"}, 400),
        ({"resourceVersion": "1", "resourceVersionMatch": "Nearly"}, 400),
        ({"resourceVersion": "999999", "resourceVersionMatch": "NotOlderThan"}, 504),
        ({"resourceVersion": "0", "resourceVersionMatch": "NotOlderThan"}, 200),
        ({"continue": "nonsense"}, 400),
        ({"limit": "-1"}, 400),
    ],
)
def test_a_list_of_a_version_that_makes_no_sense_is_refused(cluster: Served, query: dict[str, str], code: int) -> None:
    assert listed(cluster, **query)["code"] == code


def test_a_watch_can_begin_with_what_is_there_and_say_when_it_is_told(cluster: Served) -> None:
    query = {"watch": "1", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan",
             "allowWatchBookmarks": "true", "timeoutSeconds": "0"}  # fmt: skip
    answer = httpx.get(f"{cluster.url}/api/v1/namespaces/here/configmaps", params=query, timeout=5)
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["type"] for one in events][:4] == ["ADDED", "ADDED", "ADDED", "BOOKMARK"]
    assert events[3]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_pod_without_output_says_why(cluster: Served) -> None:
    cluster.core.create_namespaced_pod("here", objects.pod())
    answer = httpx.get(f"{cluster.url}/api/v1/namespaces/here/pods/agent/log", timeout=5)
    assert answer.status_code == 400
    assert "waiting to start: ContainerCreating" in answer.json()["message"]


def test_a_body_in_a_binary_encoding_is_refused_as_such(cluster: Served) -> None:
    media = {"content-type": "application/vnd.kubernetes.protobuf"}
    answer = httpx.post(f"{cluster.url}/api/v1/namespaces", content=b"k8s\0", headers=media, timeout=5)
    assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedMediaType")
