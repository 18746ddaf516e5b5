"""Small objects for the tests of the cluster's store and API."""

from __future__ import annotations

from typing import Any

from controller.sandbox.cluster.admission import APPROVED, BOX_LABEL

Object = dict[str, Any]


def namespace(name: str = "here", **meta: Any) -> Object:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **meta}}


def box(name: str = "box-1", *, approved: bool = False) -> Object:
    """A box's namespace, with the approval to delete it if asked."""
    return namespace(name, labels={BOX_LABEL: "1"}, annotations={APPROVED: "true"} if approved else {})


def config(name: str = "settings", space: str = "here", **meta: Any) -> Object:
    """A ConfigMap."""
    meta = {"name": name, "namespace": space, **meta}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"colour": "red"}}


def volume(name: str = "data", space: str = "here", **meta: Any) -> Object:
    """A PersistentVolumeClaim."""
    spec = {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "1Gi"}}}
    meta = {"name": name, "namespace": space, **meta}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}


def pod(name: str = "agent", space: str = "here", **meta: Any) -> Object:
    """A pod with one container."""
    spec = {"terminationGracePeriodSeconds": 45, "containers": [{"name": "agent", "image": "one"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space, **meta}, "spec": spec}


def deployment(name: str = "agent", space: str = "here") -> Object:
    """A Deployment of one container with two environment variables and one volume mounted twice."""
    container = {
        "name": "agent",
        "image": "one",
        "env": [{"name": "COLOUR", "value": "red"}, {"name": "SIZE", "value": "big"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "data", "mountPath": "/more"}],
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    meta = {"name": name, "namespace": space}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def application(name: str = "box1", space: str = "here", **labels: str) -> Object:
    """An Argo CD Application."""
    meta = {"name": name, "namespace": space, "labels": labels}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": meta,
        "spec": {"source": {"rev": 1}},
    }
