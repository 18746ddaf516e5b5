"""The cluster itself, as ``argocd/k3d.yaml`` describes it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from controller.devcluster.tools import Tools

NAME = "openclaw-cloud"


def create(tools: Tools, config: Path) -> None:
    """The cluster runs, made where it was missing and started where it was stopped, and its kubeconfig is written."""
    running = _running(tools)
    if running is None:
        tools.run("k3d", "cluster", "create", "--config", str(config))
    elif not running:
        tools.run("k3d", "cluster", "start", NAME, "--wait")
    given = tools.ask("k3d", "kubeconfig", "get", NAME)
    tools.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(tools.kubeconfig, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(given)


def delete(tools: Tools) -> None:
    """Neither the cluster nor its registry, its volumes or its kubeconfig is there any more."""
    if _running(tools) is not None:
        tools.run("k3d", "cluster", "delete", NAME)
    tools.kubeconfig.unlink(missing_ok=True)


def _running(tools: Tools) -> bool | None:
    """None: there is no such cluster."""
    listed = json.loads(tools.ask("k3d", "cluster", "list", "--output", "json"))
    return next((one["serversRunning"] > 0 for one in listed if one["name"] == NAME), None)
