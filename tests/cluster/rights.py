"""Our processes' own accounts on the cluster, with the rights that ``charts/platform`` gives them and no others."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.charts import deployments
from tests.cluster.kube import Kube, Object

SPACE = "openclaw-cloud"
_KINDS = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def grant(kube: Kube) -> None:
    """Bring there the accounts of the writer and the watcher, and what they may do."""
    accounts = [deployments.of("ServiceAccount", process) for process in ("writer", "watcher")]
    for one in accounts:
        one["metadata"]["namespace"] = SPACE
    rights = [one for one in deployments.rendered() if one["kind"] in _KINDS]
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, *accounts, *rights)


def kubeconfig(kube: Kube, given: Path, process: str, folder: Path) -> Path:
    """A kubeconfig for the process's account, to the cluster that ``given`` names."""
    found: Object = yaml.safe_load(given.read_text())
    context = next(one["context"] for one in found["contexts"] if one["name"] == found["current-context"])
    made = folder / f"{process}.kubeconfig"
    users = [{"name": context["user"], "user": {"token": kube.token(process, SPACE)}}]
    made.write_text(yaml.safe_dump({**found, "users": users}))
    made.chmod(0o600)
    return made
