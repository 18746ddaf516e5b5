"""Objects as the tables that kubectl prints: Kubernetes' columns for its own kinds, definitions' for theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from controller.core import clock
from controller.core.errors import Refused
from controller.sandbox.cluster import definitions
from controller.sandbox.cluster.resources import (
    CONFIG_MAP,
    CRD,
    DEPLOYMENT,
    EVENT,
    LIMIT_RANGE,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    POD,
    PVC,
    REPLICA_SET,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    Object,
)  # fmt: skip

NONE = "<none>"
INCLUDED = ("Metadata", "Object", "None")


class Column(NamedTuple):
    """One column: what it shows of an object; ``wide`` ones only with ``-o wide``."""

    name: str
    show: Callable[[Object], Any]
    wide: bool = False
    type: str = "string"


def table(kind: Kind, objects: Sequence[Object], meta: Object, include: str, definition: Object | None) -> Object:
    """The objects as a ``Table``; each row carries its object, only its metadata, or nothing.

    Raises Refused for another ``include``.
    """
    if include not in INCLUDED:
        raise Refused("include_object_unknown", given=include[:40])
    columns = [Column("Name", lambda obj: obj["metadata"]["name"]), *_columns(kind, definition)]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [{"cells": [one.show(obj) for one in columns], **_included(obj, include)} for obj in objects],
    }


def _columns(kind: Kind, definition: Object | None) -> Sequence[Column]:
    if kind in _OF_KINDS:
        own = _OF_KINDS[kind]
        always = [column for column in own if not column.wide]
        return [*always, *([] if kind in (EVENT, CRD) else [AGE]), *own[len(always) :]]
    made = [
        Column(name, _printed(type_, path), priority > 0, type_)
        for name, type_, priority, path in definitions.columns(definition)
    ]
    return made or [AGE]


def _printed(type_: str, path: str) -> Callable[[Object], Any]:
    if type_ == "date":
        return lambda obj: age(definitions.at(obj, path))
    return lambda obj: _cell(definitions.at(obj, path))


def _cell(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def _definition(column: Column) -> Object:
    shape = "name" if column.name == "Name" else ""
    priority = 1 if column.wide else 0
    return {"name": column.name, "type": column.type, "format": shape, "description": column.name, "priority": priority}


def _included(obj: Object, include: str) -> Object:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": obj}
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
    return {"object": partial}


def age(since: str | None) -> str:
    """How long ago, as kubectl tells it: ``45s``, ``3m10s``, ``5h``, ``3d``."""
    if not since:
        return "<unknown>"
    seconds = max(0, int((clock.now() - datetime.fromisoformat(since)).total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    if seconds < 600:
        return f"{seconds // 60}m" + (f"{seconds % 60}s" if seconds % 60 else "")
    if seconds < 3 * 3600:
        return f"{seconds // 60}m"
    if seconds < 48 * 3600:
        return f"{seconds // 3600}h"
    return f"{seconds // 86400}d"


AGE = Column("Age", lambda obj: age(obj["metadata"].get("creationTimestamp")))


def _spec(obj: Object) -> Object:
    found: Object = obj.get("spec") or {}
    return found


def _status(obj: Object) -> Object:
    found: Object = obj.get("status") or {}
    return found


def _containers(pod: Object) -> list[Object]:
    found: list[Object] = _status(pod).get("containerStatuses") or []
    return found


def _pod_status(pod: Object) -> str:
    """What kubectl shows: the reason of a container that waits or ended rather than the phase."""
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    for one in _containers(pod):
        for state in ("waiting", "terminated"):
            if reason := one.get("state", {}).get(state, {}).get("reason"):
                return str(reason)
    return str(_status(pod).get("phase", "Unknown"))


def _ready(pod: Object) -> str:
    wanted = len(_spec(pod).get("containers") or [])
    return f"{sum(bool(one.get('ready')) for one in _containers(pod))}/{wanted}"


def _restarts(pod: Object) -> str:
    count = sum(one.get("restartCount", 0) for one in _containers(pod))
    ends = [one.get("lastState", {}).get("terminated", {}).get("finishedAt") for one in _containers(pod)]
    last = max((end for end in ends if end), default=None)
    return f"{count} ({age(last)} ago)" if count and last else str(count)


def _replicas(deployment: Object) -> str:
    return f"{_status(deployment).get('readyReplicas', 0)}/{_spec(deployment).get('replicas', 1)}"


def _pod_template(obj: Object, name: str) -> str:
    containers = _spec(obj).get("template", {}).get("spec", {}).get("containers") or []
    return ",".join(str(one.get(name, "")) for one in containers)


def _labels(labels: Object | None) -> str:
    return ",".join(f"{key}={value}" for key, value in (labels or {}).items()) or NONE


def _quota(obj: Object, side: str | None) -> str:
    hard, used = _status(obj).get("hard") or _spec(obj).get("hard") or {}, _status(obj).get("used") or {}
    told = [
        f"{name}: {used.get(name, '0')}/{limit}"
        for name, limit in hard.items()
        if name.startswith("limits.") == (side == "limits")
    ]
    return ", ".join(told)


def _ports(service: Object) -> str:
    ports = _spec(service).get("ports") or []
    return ",".join(f"{one.get('port')}/{one.get('protocol', 'TCP')}" for one in ports) or NONE


def _storage(claim: Object) -> str:
    return str((_status(claim).get("capacity") or {}).get("storage", ""))


_MODES = {"ReadWriteOncePod": "RWOP", "ReadWriteOnce": "RWO", "ReadWriteMany": "RWX", "ReadOnlyMany": "ROX"}
_REPLICAS = (
    Column("Up-to-date", lambda obj: _status(obj).get("updatedReplicas", 0), type="integer"),
    Column("Available", lambda obj: _status(obj).get("availableReplicas", 0), type="integer"),
)
_TEMPLATE = (
    Column("Containers", lambda obj: _pod_template(obj, "name"), wide=True),
    Column("Images", lambda obj: _pod_template(obj, "image"), wide=True),
    Column("Selector", lambda obj: _labels(_spec(obj).get("selector", {}).get("matchLabels")), wide=True),
)
_OF_KINDS: dict[Kind, Sequence[Column]] = {
    NAMESPACE: (Column("Status", lambda obj: _status(obj).get("phase", "")),),
    NODE: (
        Column("Status", lambda obj: "Ready"),
        Column("Roles", lambda obj: NONE),
        Column("Version", lambda obj: _status(obj).get("nodeInfo", {}).get("kubeletVersion", "")),
    ),
    POD: (
        Column("Ready", _ready),
        Column("Status", _pod_status),
        Column("Restarts", _restarts),
        Column("IP", lambda obj: _status(obj).get("podIP") or NONE, wide=True),
        Column("Node", lambda obj: _spec(obj).get("nodeName") or NONE, wide=True),
        Column("Nominated Node", lambda obj: NONE, wide=True),
        Column("Readiness Gates", lambda obj: NONE, wide=True),
    ),
    SECRET: (
        Column("Type", lambda obj: obj.get("type", "Opaque")),
        Column("Data", lambda obj: len(obj.get("data") or {}), type="integer"),
    ),
    CONFIG_MAP: (Column("Data", lambda obj: len(obj.get("data") or {}), type="integer"),),
    SERVICE_ACCOUNT: (Column("Secrets", lambda obj: len(obj.get("secrets") or []), type="integer"),),
    SERVICE: (
        Column("Type", lambda obj: _spec(obj).get("type", "ClusterIP")),
        Column("Cluster-IP", lambda obj: _spec(obj).get("clusterIP") or NONE),
        Column("External-IP", lambda obj: NONE),
        Column("Port(s)", _ports),
        Column("Selector", lambda obj: _labels(_spec(obj).get("selector")), wide=True),
    ),
    EVENT: (
        Column("Last Seen", lambda obj: age(obj.get("lastTimestamp") or obj["metadata"].get("creationTimestamp"))),
        Column("Type", lambda obj: obj.get("type", "")),
        Column("Reason", lambda obj: obj.get("reason", "")),
        Column("Object", lambda obj: _involved(obj.get("involvedObject") or {})),
        Column("Source", lambda obj: (obj.get("source") or {}).get("component", ""), wide=True),
        Column("Message", lambda obj: str(obj.get("message", "")).strip()),
        Column("First Seen", lambda obj: age(obj.get("firstTimestamp")), wide=True),
        Column("Count", lambda obj: obj.get("count", 1), wide=True, type="integer"),
    ),
    PVC: (
        Column("Status", lambda obj: _status(obj).get("phase", "Pending")),
        Column("Volume", lambda obj: _spec(obj).get("volumeName", "")),
        Column("Capacity", _storage),
        Column("Access Modes", lambda obj: ",".join(_MODES.get(m, m) for m in _spec(obj).get("accessModes") or [])),
        Column("StorageClass", lambda obj: _spec(obj).get("storageClassName", "")),
        Column("VolumeMode", lambda obj: _spec(obj).get("volumeMode", "Filesystem"), wide=True),
    ),
    RESOURCE_QUOTA: (
        Column("Request", lambda obj: _quota(obj, None)),
        Column("Limit", lambda obj: _quota(obj, "limits")),
    ),
    LIMIT_RANGE: (),
    DEPLOYMENT: (Column("Ready", _replicas), *_REPLICAS, *_TEMPLATE),
    REPLICA_SET: (
        Column("Desired", lambda obj: _spec(obj).get("replicas", 1), type="integer"),
        Column("Current", lambda obj: _status(obj).get("replicas", 0), type="integer"),
        Column("Ready", lambda obj: _status(obj).get("readyReplicas", 0), type="integer"),
        *_TEMPLATE,
    ),
    NETWORK_POLICY: (
        Column("Pod-Selector", lambda obj: _labels((_spec(obj).get("podSelector") or {}).get("matchLabels"))),
    ),
    CRD: (Column("Created At", lambda obj: obj["metadata"]["creationTimestamp"]),),
}


def _involved(reference: Object) -> str:
    return f"{str(reference.get('kind', '')).lower()}/{reference.get('name', '')}"
