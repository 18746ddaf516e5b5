"""Each cell's cluster through its API server: refresh sets, watch and hold Applications, look at pods, stop them.

The only module that imports the library. Everything here blocks: call it from a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from functools import partial
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client, config, watch
from kubernetes.utils.quantity import parse_quantity

from controller.clients.argocd import SKIP
from controller.core import ids
from controller.core import log as logs
from controller.core.errors import Permanent, Temporary, foreign
from controller.core.settings import Group
from controller.domain.pod_metrics import Measurement

log = logs.get(__name__)

ARGO_GROUP = "argoproj.io"
ARGO_VERSION = "v1alpha1"
ARGO_NAMESPACE = "argocd"
METRICS_GROUP = "metrics.k8s.io"
METRICS_VERSION = "v1beta1"
NAMESPACE_PREFIX = "box-"
MOST_MILLICORES = 10**6
MOST_BYTES = 2**50
REFRESH = "argocd.argoproj.io/application-set-refresh"
HELD = "openclaw.cloud/stoppage"
"""The label that says for which stoppage we hold Argo CD off; argocd/cell has its sets keep it."""

DEPLOYMENT = "agent"
"""The only Deployment of a box."""
WATCH_SECONDS = 240
SILENT_SECONDS = 150
"""How long a watch may bring nothing: an API server sends a bookmark a minute, so by then nobody is there any more."""

PAGE = 500
_TIMEOUT = (3, 15)
_MERGE = "application/merge-patch+json"


class ClusterSettings(Group):
    """How we reach the cell's API server."""

    kubeconfig: Path | None = None
    """A kubeconfig file; without one the pod's own service account is used."""

    cells_kubeconfig: Path | None = None
    """A kubeconfig file with a context for each other cell, named as the cell. None: there is one cell."""


class ClusterAway(Temporary):
    """Raised when the API server does not answer or asks for patience."""


class Outdated(Temporary):
    """Raised when the API server no longer knows what came after the version that is asked about."""


@dataclass(frozen=True)
class Change:
    """One event of a watch: ``ADDED``, ``MODIFIED``, ``DELETED``, or ``BOOKMARK``, which has nothing but a version."""

    type: str
    object: dict[str, Any]

    @property
    def version(self) -> str:
        """The version after which the next watch begins."""
        return str(self.object["metadata"]["resourceVersion"])


class NotThere(Permanent):
    """Raised when the API server has no such object."""


class Cluster:
    """One cell's cluster."""

    def __init__(self, settings: ClusterSettings, context: str | None = None) -> None:
        """``context``: of the kubeconfig; its own choice if None.

        Raises Permanent if neither the kubeconfig nor a service account can be read.
        """
        configuration = client.Configuration()
        try:
            if settings.kubeconfig is not None:
                config.load_kube_config(str(settings.kubeconfig), context, client_configuration=configuration)
            else:
                config.load_incluster_config(client_configuration=configuration)
        except (config.ConfigException, yaml.YAMLError, TypeError) as exc:
            raise Permanent("kubeconfig_unusable", reason=foreign(exc)) from exc
        api = client.ApiClient(configuration)
        self._core = client.CoreV1Api(api)
        self._apps = client.AppsV1Api(api)
        self._custom = client.CustomObjectsApi(api)
        self._watches: set[watch.Watch] = set()

    def of(self, cell: str) -> Cluster:
        """Itself, whichever cell is meant."""
        return self

    def refresh(self, application_set: str) -> None:
        """Make Argo CD read Git again for one ApplicationSet; a unique value, so that no request hides another."""
        self._merge("applicationsets", application_set, {"annotations": {REFRESH: ids.new()}})

    def refresh_asked(self, application_set: str) -> bool:
        """Whether the set still has to read Git because somebody asked for it."""
        found = _asked(
            lambda: self._custom.get_namespaced_custom_object(
                ARGO_GROUP, ARGO_VERSION, ARGO_NAMESPACE, "applicationsets", application_set, _request_timeout=_TIMEOUT
            )
        )
        return REFRESH in (found["metadata"].get("annotations") or {})

    def operate(self, application: dict[str, Any], operation: dict[str, Any]) -> None:
        """Have Argo CD carry out the operation. Raises Permanent if the Application has changed since it was read."""
        meta = application["metadata"]
        body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "operation": operation}
        _asked(
            lambda: self._custom.patch_namespaced_custom_object(
                ARGO_GROUP,
                ARGO_VERSION,
                ARGO_NAMESPACE,
                "applications",
                meta["name"],
                body,
                _request_timeout=_TIMEOUT,
                _content_type="application/merge-patch+json",
            )
        )

    def delete_application(self, application: dict[str, Any]) -> None:
        """The Application is gone, if it is still just as it was seen; what it made stays unless it has a finalizer."""
        meta = application["metadata"]
        seen = client.V1Preconditions(uid=meta["uid"], resource_version=meta["resourceVersion"])
        with contextlib.suppress(NotThere):
            _asked(
                lambda: self._custom.delete_namespaced_custom_object(
                    ARGO_GROUP, ARGO_VERSION, ARGO_NAMESPACE, "applications", meta["name"],
                    body=client.V1DeleteOptions(preconditions=seen), _request_timeout=_TIMEOUT,
                )
            )  # fmt: skip

    def application(self, box_id: str) -> dict[str, Any] | None:
        """The box's Application as it is now; None if there is none."""
        try:
            found: dict[str, Any] = _asked(
                lambda: self._custom.get_namespaced_custom_object(
                    ARGO_GROUP, ARGO_VERSION, ARGO_NAMESPACE, "applications", box_id, _request_timeout=_TIMEOUT
                )
            )
        except NotThere:
            return None
        return found

    def held(self) -> dict[str, str]:
        """The boxes from which we hold Argo CD off, each with the stoppage for which."""
        listed = _asked(
            lambda: self._custom.list_namespaced_custom_object(
                ARGO_GROUP, ARGO_VERSION, ARGO_NAMESPACE, "applications", label_selector=HELD, _request_timeout=_TIMEOUT
            )
        )
        return {one["metadata"]["name"]: one["metadata"]["labels"][HELD] for one in listed["items"]}

    def hold(self, box_id: str, stoppage_id: str) -> None:
        """Argo CD leaves the box's Application alone until ``let_go``. Raises NotThere if it has none."""
        self._merge("applications", box_id, {"annotations": {SKIP: "true"}, "labels": {HELD: stoppage_id}})

    def let_go(self, box_id: str) -> None:
        """Argo CD follows Git again for the box, if it has an Application."""
        with contextlib.suppress(NotThere):
            self._merge("applications", box_id, {"annotations": {SKIP: None}, "labels": {HELD: None}})

    def scale_to_zero(self, space: str) -> None:
        """The box in that namespace wants no pod, if it has a Deployment at all."""
        scale = {"spec": {"replicas": 0}}
        with contextlib.suppress(NotThere):
            _asked(
                lambda: self._apps.patch_namespaced_deployment_scale(
                    DEPLOYMENT, space, scale, _request_timeout=_TIMEOUT, _content_type=_MERGE
                )
            )

    def applications(self, page: int = PAGE) -> tuple[list[dict[str, Any]], str]:
        """Every Application and the resourceVersion to watch from.

        Raises ClusterAway also if the list changed so much while its pages were read that it has to begin anew.
        """
        found: list[dict[str, Any]] = []
        more = ""
        while True:
            answer = _asked(partial(self._page, more, page))
            found += answer["items"]
            more = answer["metadata"].get("continue") or ""
            if not more:
                return found, answer["metadata"]["resourceVersion"]

    def changes(self, since: str, seconds: int = WATCH_SECONDS) -> Iterator[Change]:
        """What happens to Applications after ``since``, for ``seconds``; bookmarks only move the version on.

        Raises Outdated when ``since`` is too old (410): then only a list tells what there is.
        """
        watching = watch.Watch()
        self._watches.add(watching)
        try:
            stream = watching.stream(
                self._custom.list_namespaced_custom_object,
                ARGO_GROUP,
                ARGO_VERSION,
                ARGO_NAMESPACE,
                "applications",
                resource_version=since,
                timeout_seconds=seconds,
                allow_watch_bookmarks=True,
                _request_timeout=(_TIMEOUT[0], min(seconds + 30, SILENT_SECONDS)),
            )
            for event in stream:
                yield Change(event["type"], event["object"])
        except client.ApiException as exc:
            if exc.status == 410:
                raise Outdated("cluster_version_outdated", since=since) from exc
            raise ClusterAway("cluster_away", reason=foreign(exc.reason)) from exc
        except urllib3.exceptions.HTTPError as exc:
            raise ClusterAway("cluster_away", reason=foreign(exc)) from exc
        finally:
            self._watches.discard(watching)

    def hang_up(self) -> None:
        """Every watch that waits for news ends now, or as one that was cut off; one that just begins may go on."""
        for watching in list(self._watches):
            watching.stop()

    def pods(self, namespace: str) -> int:
        """How many pods the namespace has, ending ones included."""
        listed = _asked(lambda: self._core.list_namespaced_pod(namespace, _request_timeout=_TIMEOUT))
        return len(listed.items)

    def pod_metrics(self) -> list[Measurement]:
        """What every box of the cell used at its last measurement; a box without one is not in the list.

        Raises Permanent if the cluster has no metrics API.
        """
        listed = _asked(
            lambda: self._custom.list_cluster_custom_object(
                METRICS_GROUP, METRICS_VERSION, "pods", _request_timeout=_TIMEOUT
            )
        )
        found: dict[str, Measurement] = {}
        for item in listed.get("items") or []:
            one = _measurement(item)
            if one is not None:
                found[one.box_id] = _sum(found[one.box_id], one) if one.box_id in found else one
        return list(found.values())

    def has_namespace(self, namespace: str) -> bool:
        """Whether the namespace exists, even if it is being deleted."""
        field = f"metadata.name={namespace}"
        return bool(_asked(lambda: self._core.list_namespace(field_selector=field, _request_timeout=_TIMEOUT)).items)

    def _page(self, more: str, most: int) -> Any:
        return self._custom.list_namespaced_custom_object(
            ARGO_GROUP, ARGO_VERSION, ARGO_NAMESPACE, "applications", limit=most, _continue=more or None,
            _request_timeout=_TIMEOUT,
        )  # fmt: skip

    def _merge(self, plural: str, name: str, metadata: dict[str, Any]) -> None:
        _asked(
            lambda: self._custom.patch_namespaced_custom_object(
                ARGO_GROUP,
                ARGO_VERSION,
                ARGO_NAMESPACE,
                plural,
                name,
                {"metadata": metadata},
                _request_timeout=_TIMEOUT,
                _content_type=_MERGE,
            )
        )


def contexts(file: Path) -> list[str]:
    """The names of a kubeconfig's contexts. Raises Permanent if it cannot be read."""
    try:
        found, _ = config.list_kube_config_contexts(str(file))
    except (config.ConfigException, yaml.YAMLError, TypeError) as exc:
        raise Permanent("kubeconfig_unusable", reason=foreign(exc)) from exc
    return [str(one["name"]) for one in found]


def namespace(box_id: str) -> str:
    """The namespace of a box."""
    return f"{NAMESPACE_PREFIX}{box_id}"


def _measurement(item: dict[str, Any]) -> Measurement | None:
    """One pod of a box; None for somebody else's, for one without containers, and for what cannot be read."""
    try:
        space = item["metadata"]["namespace"]
        if not space.startswith(NAMESPACE_PREFIX) or not item["containers"]:
            return None
        usage = [one["usage"] for one in item["containers"]]
        millicores = _whole(sum(parse_quantity(one["cpu"]) for one in usage) * 1000, MOST_MILLICORES)
        memory = _whole(sum(parse_quantity(one["memory"]) for one in usage), MOST_BYTES)
        at = datetime.fromisoformat(item["timestamp"]).astimezone(UTC)
        return Measurement(space.removeprefix(NAMESPACE_PREFIX), at, millicores, memory)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        log.warning("cluster.measurement_unreadable", reason=foreign(repr(exc)))
        return None


def _whole(amount: Decimal, most: int) -> int:
    whole = int(amount.to_integral_value(ROUND_CEILING))
    if not 0 <= whole <= most:
        raise ValueError(f"{whole} is out of range")
    return whole


def _sum(one: Measurement, other: Measurement) -> Measurement:
    cpu, memory = one.cpu_millicores + other.cpu_millicores, one.memory_bytes + other.memory_bytes
    return Measurement(one.box_id, max(one.at, other.at), cpu, memory)


def _asked(call: Any) -> Any:
    try:
        return call()
    except client.ApiException as exc:
        reason = foreign(f"{exc.status} {exc.reason}")
        if exc.status == 404:
            raise NotThere("cluster_refused", reason=reason) from exc
        if exc.status in {401, 403, 409, 422}:
            raise Permanent("cluster_refused", reason=reason) from exc
        raise ClusterAway("cluster_away", retry_after=timedelta(seconds=2), reason=reason) from exc
    except urllib3.exceptions.HTTPError as exc:
        raise ClusterAway("cluster_away", retry_after=timedelta(seconds=2), reason=foreign(exc)) from exc
