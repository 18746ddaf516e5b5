"""The client against the cluster's stand-in: watches end when they must, and a cluster that is gone is one error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.clients import kubernetes
from controller.clients.kubernetes import REFRESH, Change, Cluster, ClusterAway, ClusterSettings, Outdated
from controller.core.errors import Permanent
from controller.sandbox.processes import free_port
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.serving import Served, served

ARGO = ("argoproj.io", "v1alpha1", "argocd")


def reached(folder: Path, url: str) -> Cluster:
    """Our client on the API server at ``url``."""
    made = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {"token": "x"}}],
        "clusters": [{"name": "k", "cluster": {"server": url}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    }  # fmt: skip
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(made))
    return Cluster(ClusterSettings(kubeconfig=file))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "objects.sqlite") as held:
        held.core.create_namespace(objects.namespace("argocd"))
        yield held


@pytest.fixture
def cluster(server: Served, tmp_path: Path) -> Cluster:
    return reached(tmp_path, server.url)


def add(server: Served, name: str) -> None:
    server.custom.create_namespaced_custom_object(*ARGO, "applications", objects.application(name, "argocd"))


def names(listed: Any) -> list[str]:
    return [one["metadata"]["name"] for one in listed]


def happened(changes: Iterable[Change]) -> list[tuple[str, str]]:
    return [(one.type, one.object["metadata"]["name"]) for one in changes if one.type != "BOOKMARK"]


def test_a_list_and_the_watch_from_it_miss_nothing(server: Served, cluster: Cluster) -> None:
    add(server, "one")
    listed, version = cluster.applications()
    add(server, "two")
    server.custom.delete_namespaced_custom_object(*ARGO, "applications", "one")
    assert (names(listed), happened(cluster.changes(version, seconds=0))) == (
        ["one"], [("ADDED", "two"), ("DELETED", "one")],
    )  # fmt: skip


def test_a_bookmark_moves_the_version_on_so_that_the_next_watch_need_not_begin_at_the_list(
    server: Served, cluster: Cluster
) -> None:
    _, version = cluster.applications()
    server.core.create_namespace(objects.namespace("elsewhere"))
    [mark] = list(cluster.changes(version, seconds=0))
    assert (mark.type, int(mark.version) > int(version)) == ("BOOKMARK", True)
    add(server, "one")
    assert happened(cluster.changes(mark.version, seconds=0)) == [("ADDED", "one")]


def test_a_long_list_comes_in_pages_and_is_whole(server: Served, cluster: Cluster) -> None:
    for name in ("one", "two", "three", "four", "five"):
        add(server, name)
    listed, version = cluster.applications(page=2)
    assert sorted(names(listed)) == ["five", "four", "one", "three", "two"]
    assert happened(cluster.changes(version, seconds=0)) == []


def test_a_version_that_is_not_kept_is_told_and_a_new_list_sees_all(server: Served, cluster: Cluster) -> None:
    add(server, "one")
    with pytest.raises(Outdated):
        list(cluster.changes("999999", seconds=30))
    assert names(cluster.applications()[0]) == ["one"]


def test_a_refresh_asks_with_a_value_that_was_never_used(server: Served, cluster: Cluster) -> None:
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": {"name": "boxes-a"}, "spec": {}}
    server.custom.create_namespaced_custom_object(*ARGO, "applicationsets", body)
    told = set()
    for _ in range(3):
        cluster.refresh("boxes-a")
        found = server.custom.get_namespaced_custom_object(*ARGO, "applicationsets", "boxes-a")
        told.add(found["metadata"]["annotations"][REFRESH])
    assert len(told) == 3


def test_refreshing_what_is_not_there_needs_a_human(cluster: Cluster) -> None:
    with pytest.raises(Permanent) as caught:
        cluster.refresh("boxes-a")
    assert caught.value.code == "cluster_refused"


def test_pods_and_namespaces_are_counted_where_they_are(server: Served, cluster: Cluster) -> None:
    space = kubernetes.namespace("01k")
    assert (cluster.pods(space), cluster.has_namespace(space)) == (0, False)
    server.core.create_namespace(objects.namespace(space))
    server.core.create_namespaced_pod(space, objects.pod(space=space))
    assert (cluster.pods(space), cluster.has_namespace(space)) == (1, True)
    assert not cluster.has_namespace("box-01")


def test_a_cluster_that_is_gone_is_one_error_whatever_is_asked(tmp_path: Path) -> None:
    gone = reached(tmp_path, f"http://127.0.0.1:{free_port()}")
    asks: list[Callable[[], object]] = [
        gone.applications, lambda: gone.refresh("boxes-a"), lambda: gone.pods("box-1"),
        lambda: gone.has_namespace("box-1"), lambda: list(gone.changes("1", seconds=1)),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(ClusterAway):
            ask()


@pytest.mark.parametrize("content", ["", "not: a kubeconfig", "{", "clusters: 7"])
def test_a_kubeconfig_that_cannot_be_used_needs_a_human(tmp_path: Path, content: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    with pytest.raises(Permanent) as caught:
        Cluster(ClusterSettings(kubeconfig=file))
    assert caught.value.code == "kubeconfig_unusable"


def test_a_kubeconfig_that_is_not_there_needs_a_human(tmp_path: Path) -> None:
    with pytest.raises(Permanent):
        Cluster(ClusterSettings(kubeconfig=tmp_path / "none"))


def test_one_application_is_found_by_its_name(server: Served, cluster: Cluster) -> None:
    add(server, "one")
    add(server, "two")
    found = cluster.application("two")
    assert found is not None
    assert (found["metadata"]["name"], cluster.application("three")) == ("two", None)


def test_an_operation_is_asked_for_unless_the_application_has_changed_meanwhile(
    server: Served, cluster: Cluster
) -> None:
    add(server, "one")
    read = cluster.application("one")
    assert read is not None
    cluster.operate(read, {"sync": {"prune": True}})
    with pytest.raises(Permanent):
        cluster.operate(read, {"sync": {"prune": False}})
    found = cluster.application("one")
    assert found is not None
    assert found["operation"] == {"sync": {"prune": True}}
