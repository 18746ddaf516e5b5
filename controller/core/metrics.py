"""Prometheus: one registry a process, and the port on which a process without a web server shows it.

Metrics stand beside the code that moves them and are made with ``counter``, ``gauge`` and ``histogram``, so that a
process shows just what it does. Labels have few values, known when the code was written: never an id or an address.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
    start_http_server,
)
from pydantic import Field

from controller.core import log as logs
from controller.core.errors import foreign
from controller.core.settings import Group, SettingsError

log = logs.get(__name__)

LABELS = frozenset(
    {"channel", "direction", "error", "kind", "method", "outcome", "plan", "provider", "route", "source", "state"}
    | {"status"}
)
"""Every label there may be; each takes its values from an enum, a route table, the catalog or our own error codes."""

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class MetricsSettings(Group):
    """Where the process shows its metrics, if it has no web server of its own."""

    metrics_port: int = Field(default=0, ge=0, le=65535)
    """0: not at all. No default port, because several processes share a machine in the sandbox."""

    metrics_host: str = "127.0.0.1"
    """Loopback; a pod sets ``0.0.0.0`` and lets its network policy say who may look."""


def registry() -> CollectorRegistry:
    """A registry that already has the process's memory, CPU, files and garbage collections."""
    made = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=made)
    return made


REGISTRY = registry()
"""This process's; web applications, of which a test makes many in one process, have one more each."""


def counter(name: str, told: str, *labels: str) -> Counter:
    """A count that only grows; Prometheus shows it as ``<name>_total``."""
    return Counter(name, told, _bounded(labels), registry=REGISTRY)


def gauge(name: str, told: str, *labels: str) -> Gauge:
    """A value that goes up and down."""
    return Gauge(name, told, _bounded(labels), registry=REGISTRY)


def histogram(name: str, told: str, *labels: str) -> Histogram:
    """How long something took, in seconds."""
    return Histogram(name, told, _bounded(labels), registry=REGISTRY, buckets=SECONDS)


def page(*more: CollectorRegistry) -> tuple[bytes, str]:
    """This process's registry and ``more``, which share no name, in Prometheus' text format; its content type."""
    return b"".join(generate_latest(one) for one in (REGISTRY, *more)), CONTENT_TYPE_LATEST


def serve(settings: MetricsSettings) -> None:
    """Show this process's metrics on its port from now on, from a thread that ends with the process.

    Raises SettingsError if the port is taken.
    """
    if settings.metrics_port == 0:
        return
    try:
        start_http_server(settings.metrics_port, settings.metrics_host, REGISTRY)
    except OSError as exc:
        raise SettingsError("setting_wrong", variable="METRICS_PORT", reason=foreign(exc)) from exc
    log.info("metrics.served", port=settings.metrics_port)


def _bounded(labels: Sequence[str]) -> Sequence[str]:
    unknown = set(labels) - LABELS
    if unknown:
        raise ValueError(f"labels {sorted(unknown)} are not in LABELS")
    return labels
