"""What a real cell's Argo CD is given, from ``argocd/cell`` itself: the sandbox's sets, project and secret store."""

from __future__ import annotations

from pathlib import Path

from controller.sandbox.cluster import render
from controller.sandbox.cluster.resources import APP_PROJECT, APPLICATION_SET, SECRET_STORE, Object

FOLDER = Path(__file__).resolve().parents[3] / "argocd/cell"
CHARTS_URL = "https://charts.openclaw.cloud"
_SERVED = {kind.kind for kind in (APPLICATION_SET, APP_PROJECT, SECRET_STORE)}


def values(cell: Object, git: str, secrets_url: str, poll_seconds: float) -> Object:
    """The values of ``argocd/cell`` for a cluster on this machine."""
    return {
        "cell": cell,
        "registry": str(cell.get("image", "")).partition("@")[0].rpartition("/")[0],
        "git": {"url": git},
        "charts": {"url": CHARTS_URL},
        "secrets": {"url": secrets_url},
        "poll_seconds": max(1, round(poll_seconds)),
    }


def objects(given: Object, folder: Path = FOLDER) -> list[Object]:
    """The chart's objects of the kinds that the stand-in serves; its admission rules are ``admission.py`` here.

    Raises RenderError.
    """
    return [obj for obj in render.once(folder, given, name="cell", namespace="argocd") if obj["kind"] in _SERVED]
