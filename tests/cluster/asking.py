"""Whether this run may touch a cluster: asked for by name, with a kubeconfig, and marked as one for tests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

ASKED, KUBECONFIG = "CLUSTER_TESTS", "KUBECONFIG"
MARK, MARKED = "openclaw.cloud/cluster-tests", "allowed"
MARKING = f"kubectl label namespace argocd {MARK}={MARKED}"


class NotForTests(AssertionError):
    """Raised for a cluster whose owner has not said that every box in it may be deleted."""


def refusal(environment: Mapping[str, str] = os.environ) -> str:
    """Why nobody asked for these tests; empty if somebody did."""
    if environment.get(ASKED) != "1":
        return "against a real Argo CD only: KUBECONFIG=… make test-cluster"
    if not environment.get(KUBECONFIG):
        return "KUBECONFIG names no cluster"
    return ""


def check_marked(namespace: Mapping[str, Any] | None) -> None:
    """Return if ``namespace``, Argo CD's, carries the mark; raises NotForTests."""
    labels = (namespace or {}).get("metadata", {}).get("labels") or {}
    if labels.get(MARK) != MARKED:
        raise NotForTests(f"these tests delete every box of a cluster; if this one is for them: {MARKING}")
