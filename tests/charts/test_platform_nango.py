"""Nango by a switch: off it leaves no trace, on it is fenced like everything else."""

from __future__ import annotations

import functools
import json

import kubernetes_validate
import pytest

from tests.charts.deployments import Object, changed, rendered
from tests.charts.test_platform_hardening import CONTAINER_RULES, POD_RULES

NANGO: Object = {
    "image": "registry.example/nango@sha256:" + "a" * 64,
    "server_url": "https://nango.openclaw.example",
    "connect_url": "https://connect.openclaw.example",
    "database": {"host": "db.example", "port": 5432, "name": "nango", "user": "nango", "tls": True},
}


@functools.cache
def _made() -> str:
    return json.dumps({f"{one['kind']}/{one['metadata']['name']}": one for one in changed(nango=NANGO)})


def made(name: str) -> Object:
    found: Object = json.loads(_made())[name]
    return found


def pod() -> Object:
    found: Object = made("Deployment/nango")["spec"]["template"]["spec"]
    return found


def test_off_it_leaves_no_trace() -> None:
    assert "nango" not in json.dumps(rendered())


def test_on_kubernetes_schemas_accept_every_object() -> None:
    for item in json.loads(_made()).values():
        if item["kind"] not in {"ExternalSecret", "Certificate"}:
            kubernetes_validate.validate(item, "1.37", strict=True)


@pytest.mark.parametrize("rule", [*POD_RULES, *CONTAINER_RULES])
def test_its_pod_keeps_the_rules_of_all_pods(rule: str) -> None:
    (container,) = pod()["containers"]
    assert POD_RULES[rule](pod()) if rule in POD_RULES else CONTAINER_RULES[rule](container)


def test_its_secrets_are_its_own() -> None:
    (container,) = pod()["containers"]
    refs = {one["valueFrom"]["secretKeyRef"]["key"] for one in container["env"] if "valueFrom" in one}
    fetched = {one["secretKey"] for one in made("ExternalSecret/platform-nango-v1")["spec"]["data"]}
    assert refs == fetched
    assert {"NANGO_ENCRYPTION_KEY", "NANGO_DB_PASSWORD"} <= refs
    others = {name: one for name, one in json.loads(_made()).items() if name.startswith("ExternalSecret/")}
    assert [name for name, one in others.items() if "NANGO_" in json.dumps(one)] == ["ExternalSecret/platform-nango-v1"]


def test_the_api_and_it_call_one_another() -> None:
    for caller, called in (("api", "nango"), ("nango", "api")):
        peer = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": called}}}
        out = made(f"NetworkPolicy/{caller}")["spec"]["egress"]
        assert {"to": [peer], "ports": [{"protocol": "TCP", "port": "http"}]} in out
        back = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": caller}}}
        assert any(back in rule["from"] for rule in made(f"NetworkPolicy/{called}")["spec"]["ingress"])


def test_the_web_reaches_what_a_connection_needs_and_not_its_dashboard() -> None:
    rules = {
        one["host"]: {path["path"] for path in one["http"]["paths"]} for one in made("Ingress/nango")["spec"]["rules"]
    }
    assert rules == {
        "nango.openclaw.example": {"/oauth", "/connect/session", "/api-auth"},
        "connect.openclaw.example": {"/"},
    }
