"""Argo CD's health of live objects, for the kinds that have one."""

from __future__ import annotations

from collections.abc import Iterable

from controller.sandbox.cluster import resources
from controller.sandbox.cluster.resources import DEPLOYMENT, EXTERNAL_SECRET, VOLUME_SNAPSHOT, Object

_BEST_FIRST = ("Healthy", "Progressing", "Missing", "Degraded")


def worst(objects: Iterable[Object | None]) -> str:
    """The health of an Application: its worst object's; None is one that is not there."""
    states = ("Missing" if obj is None else of(obj) for obj in objects)
    return max(states, key=_BEST_FIRST.index, default="Healthy")


def of(live: Object) -> str:
    """``Healthy``, ``Progressing`` or ``Degraded``; kinds without a rule are healthy."""
    kind = resources.of(live)
    if kind == DEPLOYMENT:
        return _of_deployment(live)
    if kind == EXTERNAL_SECRET:
        ready = _conditions(live).get("Ready", {}).get("status", "")
        return {"True": "Healthy", "False": "Degraded"}.get(ready, "Progressing")
    if kind == VOLUME_SNAPSHOT:
        status = live.get("status", {})
        return "Healthy" if status.get("readyToUse") else "Degraded" if status.get("error") else "Progressing"
    return "Healthy"


def _of_deployment(live: Object) -> str:
    status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
    if status.get("observedGeneration") != live["metadata"]["generation"]:
        return "Progressing"
    if _conditions(live).get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded":
        return "Degraded"
    ready = status.get("availableReplicas", 0) >= wanted and status.get("updatedReplicas", 0) >= wanted
    return "Healthy" if ready else "Progressing"


def _conditions(live: Object) -> dict[str, Object]:
    return {one["type"]: one for one in live.get("status", {}).get("conditions", [])}
