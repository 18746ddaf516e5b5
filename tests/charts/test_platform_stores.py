"""Postgres and Redis: outside in production, of the chart's own on a developer's cluster."""

from __future__ import annotations

import pytest

from tests.charts.deployments import PROCESSES, Object, of, rendered
from tests.charts.test_platform_migration import wave

STORES = {"postgres": 5432, "redis": 6379}
USERS = {"postgres": {*PROCESSES, "migrate"}, "redis": set(PROCESSES) - {"secrets"}}


def test_production_has_no_store_of_its_own() -> None:
    assert [one["metadata"]["name"] for one in rendered() if one["kind"] == "StatefulSet"] == []


@pytest.mark.parametrize("store", STORES)
def test_a_store_is_there_before_the_migrations(store: str) -> None:
    kinds = ("StatefulSet", "Service", "NetworkPolicy", "ServiceAccount")
    assert {wave(of(kind, store, "dev")) for kind in kinds} == {-2}


@pytest.mark.parametrize("store", STORES)
def test_a_store_is_probed_and_keeps_its_volume(store: str) -> None:
    spec = of("StatefulSet", store, "dev")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def called_from(process: str) -> list[Object]:
    rules = of("NetworkPolicy", process, "dev")["spec"]["egress"]
    return [peer | {"port": rule["ports"][0]["port"]} for rule in rules for peer in rule["to"]]


@pytest.mark.parametrize("store", STORES)
def test_a_store_and_its_users_name_one_another_and_nobody_else(store: str) -> None:
    (rule,) = of("NetworkPolicy", store, "dev")["spec"]["ingress"]
    names = {peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for peer in rule["from"]}
    assert names == {{"proxy": "token-proxy"}.get(user, user) for user in USERS[store]}
    way = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": store}}, "port": STORES[store]}
    assert {one for one in [*PROCESSES, "migrate"] if way in called_from(one)} == USERS[store]


@pytest.mark.parametrize("store", STORES)
def test_a_store_calls_nobody(store: str) -> None:
    spec = of("NetworkPolicy", store, "dev")["spec"]
    assert (spec["policyTypes"], "egress" in spec) == (["Ingress", "Egress"], False)


def test_the_queue_forgets_nothing_and_drops_nothing() -> None:
    (container,) = of("StatefulSet", "redis", "dev")["spec"]["template"]["spec"]["containers"]
    told = dict(zip(container["args"][1::2], container["args"][2::2], strict=True))
    assert (told["--appendonly"], told["--maxmemory-policy"]) == ("yes", "noeviction")
    assert told["--dir"] == "/data"
