"""A pod's status as a kubelet writes it."""

from __future__ import annotations

from typing import Any

from controller.sandbox.cluster.resources import POD, Object
from controller.sandbox.cluster.store import Store, now


def report(store: Store, pod: Object, container: Object, *, phase: str) -> bool:
    """Write the pod's status around one container's, unless it only repeats the last one; whether it was written."""
    meta = pod["metadata"]
    old = store.get(POD, meta["namespace"], meta["name"])
    if old is None or old["metadata"]["uid"] != meta["uid"]:
        return False
    before: Object = old.get("status") or {}
    ready = container["ready"]
    up = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    made = {
        "phase": phase,
        "hostIP": "127.0.0.1",
        "podIP": "127.0.0.1",
        "podIPs": [{"ip": "127.0.0.1"}],
        "qosClass": _quality(pod),
        "startTime": before.get("startTime") or now(),
        "conditions": [_condition(before, kind, value) for kind, value in up.items()],
        "containerStatuses": [container],
    }
    if _steady(before) == _steady(made):
        return False
    store.update_status(POD, meta["namespace"], meta["name"], made)
    return True


def ended(code: int, started: str, message: str = "") -> Object:
    """The ``terminated`` state of a container: a negative code is the signal that ended it."""
    reason = "Error" if code else "Completed"
    made: Object = {"exitCode": 128 - code if code < 0 else code, "reason": reason}
    if code < 0:
        made["signal"] = -code
    if message:
        made |= {"reason": "StartError", "message": message[:256]}
    return {**made, "startedAt": started, "finishedAt": now()}


def _condition(before: Object, kind: str, value: bool) -> Object:
    old: Object = next((one for one in before.get("conditions", []) if one["type"] == kind), {})
    since = old.get("lastTransitionTime") if old.get("status") == str(value) else None
    return {"type": kind, "status": str(value), "lastProbeTime": None, "lastTransitionTime": since or now()}


def _quality(pod: Object) -> str:
    """The pod's quality-of-service class, from its containers' resources."""
    sides = [one.get("resources") or {} for one in pod["spec"]["containers"]]
    if not any(one.get("limits") or one.get("requests") for one in sides):
        return "BestEffort"
    sure = all({"cpu", "memory"} <= (one.get("limits") or {}).keys() for one in sides)
    same = all((one.get("requests") or one.get("limits")) == one.get("limits") for one in sides)
    return "Guaranteed" if sure and same else "Burstable"


def _steady(status: Object) -> list[Any]:
    """A status without its times, to tell whether anything changed."""
    parts = [
        (one["ready"], one.get("started"), one["restartCount"], _without_times(one))
        for one in status.get("containerStatuses", [])
    ]
    return [status.get("phase"), *parts]


def _without_times(container: Object) -> list[Any]:
    return [sorted(container["state"]), container["state"].get("waiting"), container.get("lastState")]
