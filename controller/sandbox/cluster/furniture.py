"""What a cluster has before anybody puts anything in it: namespaces, the node, Argo's projects, the secret store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from controller.sandbox.cluster import definitions, resources
from controller.sandbox.cluster.resources import APP_PROJECT, NODE, SECRET_STORE, Object
from controller.sandbox.cluster.store import Store, now

NODE_NAME = "sandbox"


def place(store: Store, own: Sequence[Object]) -> None:
    """Everything is there, and with it ``own``, the cell's project and secret store as its chart has them now.

    What else is there already is left as it is, but for the node's status.
    """
    for name in ("default", "kube-system", "argocd"):
        _ensure(store, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for definition in definitions.built_in():
        _ensure(store, definition)
    meta = {"name": "default", "namespace": "argocd"}
    spec = {"sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}]}
    _ensure(store, {"apiVersion": APP_PROJECT.api_version, "kind": "AppProject", "metadata": meta, "spec": spec})
    for obj in own:
        _ensure(store, obj)
        found = store.get(resources.of(obj), obj["metadata"].get("namespace"), obj["metadata"]["name"])
        if found is not None and found["spec"] != obj["spec"]:
            store.update({**found, "spec": obj["spec"]})
    ready = {"type": "Ready", "status": "True", "reason": "Valid", "message": "store validated"}
    store.update_status(SECRET_STORE, None, "platform", {"conditions": [ready], "capabilities": "ReadOnly"})
    _ensure(store, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME}, "spec": {}})
    store.update_status(NODE, None, NODE_NAME, _node_status())


def _ensure(store: Store, obj: Object) -> None:
    kind, meta = resources.of(obj), obj["metadata"]
    if store.get(kind, meta.get("namespace"), meta["name"]) is None:
        store.create(obj)


def _node_status() -> Object:
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    room = {"cpu": str(os.cpu_count() or 1), "memory": f"{memory.split()[1]}Ki", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    return {
        "capacity": room,
        "allocatable": room,
        "conditions": [{**ready, "lastTransitionTime": now(), "lastHeartbeatTime": now()}],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "nodeInfo": {"kubeletVersion": "v1.37.0-sandbox", "operatingSystem": "linux"},
    }
