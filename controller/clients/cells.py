"""The cells' clusters by the cell's name: a box's Application and its ApplicationSet are in its own cell's alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from controller.clients import kubernetes
from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core.errors import Temporary, foreign


class CellUnknown(Temporary):
    """Raised when a box is in a cell of which this process has no kubeconfig: somebody has to give it one."""


class Cells(Protocol):
    """Knows each cell's cluster. A cluster by itself does: it is every cell's, where there is but one."""

    def of(self, cell: str) -> Cluster:
        """The cluster of that cell. Raises CellUnknown if there is none."""
        ...


class Clusters:
    """The clusters of several cells."""

    def __init__(self, known: Mapping[str, Cluster]) -> None:
        self._known = dict(known)

    def of(self, cell: str) -> Cluster:
        """The cluster of that cell. Raises CellUnknown if there is none."""
        if cell not in self._known:
            raise CellUnknown("cell_unknown", retry_after=timedelta(minutes=1), cell=foreign(cell))
        return self._known[cell]


def connect(settings: ClusterSettings, home: str) -> Cells:
    """The clusters that the settings know; the one without a context of its own is the cell ``home``'s.

    Raises Permanent if a kubeconfig cannot be read.
    """
    file = settings.cells_kubeconfig
    if file is None:
        return Cluster(settings)
    others = {name: Cluster(ClusterSettings(kubeconfig=file), name) for name in kubernetes.contexts(file)}
    return Clusters(others | {home: Cluster(settings)})
