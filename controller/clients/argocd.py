"""What an Argo CD Application says about a box: pure reading of the object, no network.

Health alone is never believed: between commit and sync it is the old pod's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Observed:
    """One look at an Application. ``rev`` is the rev of the values that were compared, 0 before the first compare."""

    box_id: str
    cell: str
    rev: int
    sync: str
    health: str
    phase: str
    operating: bool
    resources: int
    message: str | None

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
    status = application.get("status") or {}
    operation = status.get("operationState") or {}
    sync = status.get("sync") or {}
    compared = _values(sync.get("comparedTo") or {})
    wanted = _values({"source": application["spec"].get("source")})
    return Observed(
        box_id=application["metadata"]["name"],
        cell=str((wanted.get("cell") or {}).get("name", "")),
        rev=int((compared.get("spec") or {}).get("rev", 0)),
        sync=sync.get("status", "Unknown"),
        health=(status.get("health") or {}).get("status", "Missing"),
        phase=operation.get("phase", ""),
        operating="operation" in application,
        resources=len(status.get("resources") or []),
        message=operation.get("message"),
    )


def _values(holder: dict[str, Any]) -> dict[str, Any]:
    source = holder.get("source") or {}
    values: dict[str, Any] = (source.get("helm") or {}).get("valuesObject") or {}
    return values
