"""What the API server refuses by the cell's rules, whoever asks."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controller.clients.kubernetes import namespace
from tests.cluster.kube import Object, refused
from tests.cluster.world import World

OTHER = "01kb0t7m8c9d0e1f2g3h4j5k6m"


def test_a_box_that_is_not_approved_for_it_is_not_deleted(world: World, box: str) -> None:
    said = refused(lambda: world.kube.delete("Namespace", namespace(box)))
    assert "deletion is not approved" in said
    assert world.inside("Deployment", box, "agent")


def test_nor_is_its_volume(world: World, box: str) -> None:
    said = refused(lambda: world.kube.delete("PersistentVolumeClaim", "data", namespace(box)))
    assert "deletion is not approved" in said
    assert "deletionTimestamp" not in world.inside("PersistentVolumeClaim", box, "data")["metadata"]


@pytest.mark.parametrize(
    "data",
    [
        [{"secretKey": "token", "remoteRef": {"key": f"boxes/{OTHER}/agent/1"}}],
        [{"secretKey": "token", "remoteRef": {"key": "boxes/{box}/../" + OTHER + "/agent/1"}}],
        [{"secretKey": "token", "remoteRef": {"key": "boxes/{box}/telegram/1"}}],
    ],
    ids=["another's", "past its own", "not the agent's"],
)
def test_a_secret_that_is_not_the_boxs_own_token_is_not_fetched(world: World, box: str, data: list[Any]) -> None:
    asked = external_secret(world, box)
    asked["spec"]["data"] = [
        {**one, "remoteRef": {"key": one["remoteRef"]["key"].replace("{box}", box)}} for one in data
    ]
    assert "its own agent token only" in refused(lambda: world.kube.create(asked, dry=True))


def test_its_own_is(world: World, box: str) -> None:
    assert refused(lambda: world.kube.create(external_secret(world, box), dry=True)) == ""


def test_another_store_is_refused(world: World, box: str) -> None:
    asked = external_secret(world, box)
    asked["spec"]["secretStoreRef"]["name"] = "elsewhere"
    assert "ClusterSecretStore platform" in refused(lambda: world.kube.create(asked, dry=True))


def test_a_store_of_a_boxs_own_is_refused(world: World, box: str) -> None:
    store = {
        "apiVersion": "external-secrets.io/v1", "kind": "SecretStore",
        "metadata": {"name": "mine", "namespace": namespace(box)},
        "spec": {"provider": {"webhook": {"url": "http://127.0.0.1:1", "result": {}}}},
    }  # fmt: skip
    assert "nothing else of External Secrets" in refused(lambda: world.kube.create(store, dry=True))


@pytest.mark.parametrize("image", ["docker.io/library/alpine:3", "registry.localhost/box:latest"])
def test_an_image_from_elsewhere_or_without_a_digest_is_refused(world: World, box: str, image: str) -> None:
    [pod] = world.kube.list("Pod", namespace(box))
    asked: Object = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "guest", "namespace": namespace(box)},
        "spec": {"containers": copy.deepcopy(pod["spec"]["containers"]), "serviceAccountName": "agent",
                 "securityContext": pod["spec"]["securityContext"]},
    }  # fmt: skip
    asked["spec"]["containers"][0] |= {"image": image, "volumeMounts": []}
    assert "images of boxes come from registry.localhost" in refused(lambda: world.kube.create(asked, dry=True))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"openclaw.cloud/box": None}, "keeps the label"),
        ({"openclaw.cloud/box": OTHER}, "keeps the label"),
        ({"openclaw.cloud/cell": "elsewhere"}, "this cell is called local"),
        ({"pod-security.kubernetes.io/enforce": "privileged"}, "stays at restricted"),
    ],
    ids=str,
)
def test_a_boxs_namespace_stays_one(world: World, box: str, labels: Object, says: str) -> None:
    body = {"metadata": {"labels": labels}}
    assert says in refused(lambda: world.kube.patch("Namespace", namespace(box), body))


def test_a_namespace_with_a_boxs_name_needs_a_boxs_labels(world: World) -> None:
    asked = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "box-mine"}}
    assert "keeps the label openclaw.cloud/box" in refused(lambda: world.kube.create(asked, dry=True))


def external_secret(world: World, box: str) -> Object:
    """A second one like the box's own."""
    found = world.inside("ExternalSecret", box, "agent-v1")
    return {
        "apiVersion": found["apiVersion"],
        "kind": "ExternalSecret",
        "metadata": {"name": "second", "namespace": namespace(box)},
        "spec": copy.deepcopy(found["spec"]) | {"target": {"name": "second"}},
    }
