"""ResourceQuota and LimitRange: what fits, what is filled in, and what happens once there is room."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from controller.sandbox.cluster import accounting, quotas
from controller.sandbox.cluster.deployments import Deployments
from controller.sandbox.cluster.quotas import QuotaExceeded
from controller.sandbox.cluster.resources import DEPLOYMENT, EVENT, POD, PVC, RESOURCE_QUOTA, Object
from controller.sandbox.cluster.store import Store
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.waiting import until

SIZES: dict[str, Any] = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "objects.sqlite")
    made.create(objects.namespace())
    return made


def quota(**hard: str) -> Object:
    meta = {"name": "box", "namespace": "here"}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}


def limits(**item: Any) -> Object:
    meta = {"name": "box", "namespace": "here"}
    spec = {"limits": [{"type": "Container", **item}]}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": spec}


def sized(name: str = "agent", **resources: Any) -> Object:
    made = objects.pod(name)
    made["spec"]["containers"][0]["resources"] = resources
    return made


@pytest.mark.parametrize(
    ("text", "number"), [("500m", "0.5"), ("2", "2"), ("1Gi", "1073741824"), ("1k", "1000"), ("0", "0"), ("1.5", "1.5")]
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, number: str) -> None:
    assert quotas.quantity(text) == Decimal(number)


@pytest.mark.parametrize(
    ("hard", "why"),
    [
        ({"pods": "0"}, "exceeded quota: box, requested: pods=1, used: pods=0, limited: pods=0"),
        ({"limits.memory": "1Gi"}, "requested: limits.memory=2Gi, used: limits.memory=0, limited: limits.memory=1Gi"),
        ({"requests.cpu": "400m"}, "requested: requests.cpu=500m"),
        ({"limits.ephemeral-storage": "1Gi"}, "must specify limits.ephemeral-storage"),
    ],
)
def test_a_pod_that_does_not_fit_is_refused_in_kubernetes_words(store: Store, hard: dict[str, str], why: str) -> None:
    store.create(quota(**hard))
    with pytest.raises(QuotaExceeded) as refusal:
        store.create(sized(**SIZES))
    assert why in str(refusal.value.facts["sentence"])
    assert store.list(POD) == []


def test_a_claim_may_neither_be_made_nor_grow_past_the_quota(store: Store) -> None:
    store.create(quota(**{"requests.storage": "2Gi"}))
    claim = store.create(objects.volume())
    claim["spec"]["resources"]["requests"]["storage"] = "3Gi"
    with pytest.raises(QuotaExceeded):
        store.update(claim)
    claim["spec"]["resources"]["requests"]["storage"] = "2Gi"
    store.update(claim)
    with pytest.raises(QuotaExceeded):
        store.create(objects.volume("more"))
    assert len(store.list(PVC)) == 1


def test_a_container_gets_the_defaults_and_may_not_pass_the_maximum(store: Store) -> None:
    store.create(limits(default={"cpu": "1"}, defaultRequest={"cpu": "500m"}, max={"cpu": "1"}))
    made = store.create(objects.pod())
    assert made["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}
    with pytest.raises(QuotaExceeded) as refusal:
        store.create(sized("big", limits={"cpu": "2"}))
    assert "maximum cpu usage per Container is 1, but limit is 2" in str(refusal.value.facts["sentence"])


async def test_the_quota_says_what_is_used(store: Store) -> None:
    counting = asyncio.create_task(accounting.run(store))
    store.create(quota(pods="2", **{"limits.memory": "4Gi"}))
    store.create(sized(**SIZES))
    used = {"pods": "1", "limits.memory": "2Gi"}
    await until(lambda: store.list(RESOURCE_QUOTA)[0].get("status", {}).get("used") == used)
    counting.cancel()


async def test_a_refused_pod_is_told_and_starts_once_the_quota_has_room(store: Store) -> None:
    running = asyncio.create_task(Deployments(store).run())
    store.create(quota(pods="0"))
    store.create(objects.deployment())
    await until(lambda: "ReplicaFailure" in conditions(store))
    assert "exceeded quota" in conditions(store)["ReplicaFailure"]["message"]
    assert [one["reason"] for one in store.list(EVENT)] == ["FailedCreate"]
    store.update({**store.list(RESOURCE_QUOTA)[0], "spec": {"hard": {"pods": "1"}}})
    await until(lambda: store.list(POD))
    await until(lambda: "ReplicaFailure" not in conditions(store))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def conditions(store: Store) -> Any:
    found = (store.get(DEPLOYMENT, "here", "agent") or {}).get("status", {}).get("conditions", [])
    return {one["type"]: one for one in found}
