"""The scale subresource: a Deployment seen as nothing but its number of replicas."""

from __future__ import annotations

from controller.core.errors import Invalid
from controller.sandbox.cluster.resources import Object

TYPE = {"apiVersion": "autoscaling/v1", "kind": "Scale"}
_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def of(deployment: Object) -> Object:
    """The Deployment's ``Scale``."""
    labels = deployment["spec"].get("selector", {}).get("matchLabels", {})
    running = deployment.get("status", {}).get("replicas", 0)
    return {
        **TYPE,
        "metadata": {key: deployment["metadata"][key] for key in _META},
        "spec": {"replicas": deployment["spec"].get("replicas", 1)},
        "status": {"replicas": running, "selector": ",".join(f"{key}={value}" for key, value in labels.items())},
    }


def scaled(deployment: Object, scale: Object) -> Object:
    """The Deployment with as many replicas as ``scale`` asks for.

    Raises Invalid unless that is a whole number from 0 on.
    """
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise Invalid("replicas_malformed")
    return {**deployment, "spec": {**deployment["spec"], "replicas": replicas}}
