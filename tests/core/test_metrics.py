"""The metrics port of a process without a web server."""

from __future__ import annotations

import socket

import httpx
import pytest

from controller.core import metrics
from controller.core.metrics import MetricsSettings
from controller.core.settings import SettingsError
from controller.sandbox.processes import free_port


def test_the_port_shows_the_process_and_what_it_counts() -> None:
    settings = MetricsSettings(metrics_port=free_port())
    metrics.serve(settings)
    text = httpx.get(f"http://127.0.0.1:{settings.metrics_port}/metrics").raise_for_status().text
    assert "process_resident_memory_bytes " in text


def test_a_port_that_is_taken_stops_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingsError, match="METRICS_PORT"):
        metrics.serve(MetricsSettings(metrics_port=taken.getsockname()[1]))


def test_port_0_opens_nothing() -> None:
    metrics.serve(MetricsSettings(metrics_port=0))


@pytest.mark.parametrize("label", ["box_id", "customer", "path"])
def test_a_label_without_bound_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match=label):
        metrics.counter("x", "x", label)
