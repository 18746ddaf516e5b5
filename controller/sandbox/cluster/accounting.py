"""Keeps the status of ResourceQuotas: what is limited, and how much of it is used."""

from __future__ import annotations

from controller.sandbox.cluster import quotas
from controller.sandbox.cluster.resources import CONFIG_MAP, POD, PVC, RESOURCE_QUOTA, SECRET, SERVICE
from controller.sandbox.cluster.store import Store


async def run(store: Store) -> None:
    """Follow what quotas count, from what is there on."""
    changes = store.watch(RESOURCE_QUOTA, POD, PVC, SERVICE, SECRET, CONFIG_MAP)
    for space in {quota["metadata"]["namespace"] for quota in store.list(RESOURCE_QUOTA)}:
        count(store, space)
    async for event in changes:
        count(store, event.object["metadata"]["namespace"])


def count(store: Store, namespace: str) -> None:
    """The quotas of one namespace say what is used now."""
    for quota in store.list(RESOURCE_QUOTA, namespace):
        status = {"hard": quota.get("spec", {}).get("hard") or {}, "used": quotas.used(quota, store.inside(namespace))}
        store.update_status(RESOURCE_QUOTA, namespace, quota["metadata"]["name"], status)
