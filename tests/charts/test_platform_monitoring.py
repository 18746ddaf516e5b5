"""Whom the Prometheus Operator scrapes: by a switch, off without a trace, on every process of ours and nothing else."""

from __future__ import annotations

import functools
import json

import helm_python
import jsonschema
import pytest

from tests.charts.deployments import PROCESSES, Object, changed, of, pod, rendered

POD_MONITOR = {
    "additionalProperties": False,
    "required": ["jobLabel", "podMetricsEndpoints", "selector"],
    "properties": {
        "jobLabel": {"type": "string"},
        "selector": {"properties": {"matchLabels": {"additionalProperties": {"type": "string"}}}},
        "podMetricsEndpoints": {
            "items": {
                "additionalProperties": False,
                "properties": {
                    "port": {"type": "string"},
                    "path": {"type": "string"},
                    "interval": {"pattern": "^[0-9]+s$"},
                    "scheme": {"enum": ["http", "https"]},
                    "tlsConfig": {"additionalProperties": False, "properties": {"serverName": {}, "ca": {}}},
                },
            },
        },
    },
}
"""The form of a PodMonitor's spec, as far as it is used here."""


@functools.cache
def _monitored(**more: str) -> str:
    given = {"labels": {"release": "prometheus"}, "scrape_seconds": 15}
    sections = {name: json.loads(text) for name, text in more.items()}
    return json.dumps(changed(monitoring=given, **sections))


def made(kind: str, **more: str) -> dict[str, Object]:
    """The objects of that kind by name; ``more`` are sections of values, as JSON."""
    return {one["metadata"]["name"]: one for one in json.loads(_monitored(**more)) if one["kind"] == kind}


def monitor(process: str, **more: str) -> Object:
    found: Object = made("PodMonitor", **more)[of("Deployment", process)["metadata"]["name"]]
    return found


def endpoint(process: str, **more: str) -> Object:
    (found,) = monitor(process, **more)["spec"]["podMetricsEndpoints"]
    assert isinstance(found, dict)
    return found


def test_off_it_leaves_no_trace() -> None:
    assert "monitoring.coreos.com" not in json.dumps(rendered())


def test_on_there_is_one_monitor_for_each_process() -> None:
    assert len(made("PodMonitor")) == len(PROCESSES)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_monitor_has_the_form_that_its_kind_asks_for(process: str) -> None:
    jsonschema.validate(monitor(process)["spec"], POD_MONITOR)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_monitor_selects_the_pods_of_its_process_and_a_port_that_they_have(process: str) -> None:
    labels = of("Deployment", process)["spec"]["template"]["metadata"]["labels"]
    assert monitor(process)["spec"]["selector"] == {"matchLabels": labels}
    assert monitor(process)["spec"]["jobLabel"] in labels
    (container,) = pod(process)["containers"]
    assert endpoint(process)["port"] in {port["name"] for port in container["ports"]}


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_is_scraped_as_its_pods_annotations_say(process: str) -> None:
    told = of("Deployment", process)["spec"]["template"]["metadata"]["annotations"]
    asked = endpoint(process)
    assert (asked["path"], asked.get("scheme")) == (told["prometheus.io/path"], told.get("prometheus.io/scheme"))


def test_the_secret_endpoints_certificate_is_checked_against_its_own_authority() -> None:
    tls, certificate = endpoint("secrets")["tlsConfig"], of("Certificate", "secrets-tls")["spec"]
    assert tls["serverName"] in certificate["dnsNames"]
    assert tls["ca"] == {"secret": {"name": certificate["secretName"], "key": "ca.crt"}}


def test_without_an_issuer_it_is_scraped_in_plain_http() -> None:
    store = {"kind": "ClusterSecretStore", "name": "vault", "entry": "platform"}
    plain = json.dumps({"store": store, "version": 1, "tls": None})
    assert endpoint("secrets", secrets=plain).keys() == {"port", "path", "interval"}


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_prometheus_finds_them_by_the_labels_that_it_looks_for(kind: str) -> None:
    assert {one["metadata"]["labels"]["release"] for one in made(kind).values()} == {"prometheus"}


@pytest.mark.parametrize(("given", "seconds"), [({}, "30s"), ({"scrape_seconds": 15}, "15s")])
def test_how_often_is_a_value(given: Object, seconds: str) -> None:
    monitors = [one for one in changed(monitoring=given) if one["kind"] == "PodMonitor"]
    assert {one["spec"]["podMetricsEndpoints"][0]["interval"] for one in monitors} == {seconds}


@pytest.mark.parametrize(
    "given", [{"scrape_seconds": 300}, {"scrape_seconds": "30"}, {"labels": {"a": 1}}, {"rules": []}]
)
def test_what_would_blind_the_alerts_is_refused(given: Object) -> None:
    with pytest.raises(helm_python.HelmValuesError):
        changed(monitoring=given)
