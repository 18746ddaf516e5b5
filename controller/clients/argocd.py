"""What an Argo CD Application says about a box: pure reading of the object, no network.

Health alone is never believed: between commit and sync it is the old pod's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controller.core.errors import foreign

GIVEN_UP = frozenset({"Failed", "Error"})
PAUSE = timedelta(seconds=30)
"""How long a sync that was given up rests. 30 s: twice what its four attempts take."""

SKIP = "argocd.argoproj.io/skip-reconcile"
"""The annotation by which Argo CD leaves an Application alone; argocd/cell has its sets keep it."""


@dataclass(frozen=True)
class Observed:
    """One look at an Application. ``rev`` is the rev of the values that were compared, 0 before the first compare.

    ``asked_rev`` and ``asked_state`` are what its ApplicationSet made it ask for last.
    """

    box_id: str
    cell: str
    rev: int
    sync: str
    health: str
    phase: str
    operating: bool
    resources: int
    message: str | None
    trouble: str | None = None
    """What its conditions say is wrong: it does not render, or does not sync."""

    asked_rev: int = 0
    asked_state: str = ""
    operation: str = ""
    """When its last sync began, which names it; empty before the first."""

    synced_once: bool = False
    """Whether a sync ever succeeded: only then all that it asks for was there."""

    held: bool = False
    """Whether Argo CD is told to leave it alone: then its status stands still."""

    snapshot: str | None = None
    """The name of the VolumeSnapshot that is there as it was rendered."""

    def is_well(self) -> bool:
        """Whether what was compared last is applied, in sync, healthy, and nothing under way."""
        return self.settled(self.rev)

    def illness(self) -> str:
        """Why it is not well, in a line: the conditions' words first, then the operation's."""
        told = f"sync {self.sync}, health {self.health}, phase {self.phase or 'none'}"
        return foreign(": ".join(filter(None, [told, self.trouble or self.message])))

    def settled(self, rev: int) -> bool:
        """Whether the cluster runs ``rev`` or newer: applied, in sync, healthy, and nothing under way."""
        return (
            self.rev >= rev
            and self.sync == "Synced"
            and self.health == "Healthy"
            and self.phase == "Succeeded"
            and not self.operating
        )


def read(application: dict[str, Any]) -> Observed:
    """The Application as an observation; missing parts count as not there yet."""
    status = _map(application, "status")
    operation = _map(status, "operationState")
    sync = _map(status, "sync")
    wanted = _values(_map(application, "spec"))
    return Observed(
        box_id=application["metadata"]["name"],
        cell=str(_map(wanted, "cell").get("name", "")),
        rev=_rev(_values(_map(sync, "comparedTo"))),
        sync=sync.get("status") or "Unknown",
        health=_map(status, "health").get("status") or "Missing",
        phase=operation.get("phase") or "",
        operating="operation" in application,
        resources=len(_maps(status, "resources")),
        message=operation.get("message"),
        trouble=_conditions(status),
        asked_rev=_rev(wanted),
        asked_state=str(_map(wanted, "spec").get("state", "")),
        operation=str(operation.get("startedAt") or ""),
        synced_once=bool(status.get("history")) or operation.get("phase") == "Succeeded",
        held=_map(application["metadata"], "annotations").get(SKIP) == "true",
        snapshot=_snapshot(status),
    )


def given_up(application: dict[str, Any], now: datetime) -> dict[str, Any] | None:
    """The operation that Argo CD has given up, for it to begin again; None unless it rests since ``PAUSE``.

    Whatever has failed four times is never tried again before its source changes, however long the trouble is over. An
    operation of any other source than today's is none of these: it is for the automation to judge the new one first.
    """
    status = _map(application, "status")
    state = _map(status, "operationState")
    operation = _map(state, "operation")
    source = _map(operation, "sync").get("source")
    ended = _time(state.get("finishedAt"))
    resting = ended is None or now - ended < PAUSE
    if "operation" in application or state.get("phase") not in GIVEN_UP or resting:
        return None
    return operation if source and source == _map(application, "spec").get("source") else None


def _conditions(status: dict[str, Any]) -> str | None:
    return "; ".join(f"{one.get('type')} {one.get('message')}" for one in _maps(status, "conditions")) or None


def _snapshot(status: dict[str, Any]) -> str | None:
    found = [one for one in _maps(status, "resources") if one.get("kind") == "VolumeSnapshot"]
    return next((str(one.get("name")) for one in found if one.get("status") == "Synced"), None)


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def _rev(values: dict[str, Any]) -> int:
    rev = _map(values, "spec").get("rev")
    return rev if isinstance(rev, int) else 0


def _values(holder: dict[str, Any]) -> dict[str, Any]:
    return _map(_map(_map(holder, "source"), "helm"), "valuesObject")


def _maps(holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = holder.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _map(holder: dict[str, Any], name: str) -> dict[str, Any]:
    # Anybody's Application may stand in the namespace, with values of any form.
    found = holder.get(name)
    return found if isinstance(found, dict) else {}
