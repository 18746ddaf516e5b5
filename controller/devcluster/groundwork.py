"""What has to be in a cluster before the first Application: namespaces, Argo CD with our settings, External Secrets."""

from __future__ import annotations

import json
from pathlib import Path

from controller.devcluster import pins
from controller.devcluster.tools import Tools

ARGOCD, EXTERNAL_SECRETS, PLATFORM = "argocd", "external-secrets", "openclaw-cloud"
PATIENCE = "--timeout=900s"
"""For what pulls images, by whatever line the developer has."""


def lay(tools: Tools, root: Path) -> None:
    """Argo CD and External Secrets run, at the versions that are pinned."""
    spaces = (ARGOCD, EXTERNAL_SECRETS, PLATFORM)
    tools.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in spaces)
    apply = ("kubectl", "apply", "--server-side", "--force-conflicts", "--kustomize")
    tools.run(*apply, str(root / "argocd/installations/local"))
    if not _has_external_secrets(tools):
        chart = ("external-secrets", "external-secrets", "--repo", pins.EXTERNAL_SECRETS_CHARTS)
        exactly = ("--version", pins.EXTERNAL_SECRETS, "--namespace", EXTERNAL_SECRETS)
        tools.run("helm", "upgrade", "--install", *chart, *exactly, "--wait", PATIENCE)
    of_argo = ("--namespace", ARGOCD, PATIENCE)
    tools.run("kubectl", "rollout", "status", "statefulset/argocd-application-controller", *of_argo)
    tools.run("kubectl", "wait", "--for=condition=Available", "deployment", "--all", *of_argo)


def _has_external_secrets(tools: Tools) -> bool:
    listed = json.loads(tools.ask("helm", "list", "--namespace", EXTERNAL_SECRETS, "--output", "json"))
    wanted = ("deployed", f"external-secrets-{pins.EXTERNAL_SECRETS}")
    return any((one["status"], one["chart"]) == wanted for one in listed)
