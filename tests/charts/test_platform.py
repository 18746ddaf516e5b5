"""``charts/platform`` rendered: no process of ours lacks what it needs or is told what is not its own."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest

from controller.sandbox.services import Addresses, platform
from controller.sandbox.state import PORTS, State
from tests.charts.deployments import ENVIRONMENTS, PROCESSES, containers, of, pod, rendered

ONLY_IN_A_SANDBOX = {"KUBECONFIG", "POD_METRICS_INTERVAL", "STRIPE_API_URL", "TELEGRAM_API_URL"}
NOT_IN_A_SANDBOX = {"GIT_TOKEN", "SECRETS_TLS_CERT", "SECRETS_TLS_KEY"}
BY_DECISION = {"CACHE_REDIS_URL"}
"""Told only where the values say so (``test_platform_translator.py``)."""

CUSTOM = {"cert-manager.io/v1", "external-secrets.io/v1"}
IN_CLUSTER = {"writer", "watcher"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_kubernetes_schemas_accept_every_object(environment: str) -> None:
    for item in (one for one in rendered(environment) if one["apiVersion"] not in CUSTOM):
        kubernetes_validate.validate(item, "1.37", strict=True)


def test_there_is_a_deployment_for_just_our_processes() -> None:
    args = [
        one["spec"]["template"]["spec"]["containers"][0]["args"] for one in rendered() if one["kind"] == "Deployment"
    ]
    assert sorted(args) == [[process] for process in PROCESSES]


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_is_probed_and_bounded(process: str) -> None:
    (container,) = pod(process)["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert container["resources"].keys() == {"requests", "limits"}
    assert of("NetworkPolicy", process)["spec"]["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize("process", PROCESSES)
def test_only_who_calls_the_cluster_has_a_token_of_an_account_of_its_own(process: str) -> None:
    assert pod(process)["serviceAccountName"] == of("ServiceAccount", process)["metadata"]["name"]
    assert pod(process)["automountServiceAccountToken"] is (process in IN_CLUSTER)


def test_the_writer_never_runs_twice() -> None:
    spec = of("Deployment", "writer")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def told(process: str, folder: Path) -> set[str]:
    state = State(ports=dict.fromkeys(PORTS, 1))
    at = Addresses("dsn", "queue", "cache", "secret", folder, folder, folder, folder)
    env = {one.name: set(one.env) for one in platform(state, at, folder, folder)}
    return env[process] - env["cluster"] - ONLY_IN_A_SANDBOX - BY_DECISION


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_is_told_what_it_is_told_in_the_sandbox(process: str, tmp_path: Path) -> None:
    names = {one["name"] for one in pod(process, environment="translated")["containers"][0]["env"]} - NOT_IN_A_SANDBOX
    assert {name for name in names if not name.endswith("_HOST")} == told(process, tmp_path)


def test_the_translator_is_told_what_it_is_told_in_the_sandbox(tmp_path: Path) -> None:
    names = {one["name"] for one in containers("proxy")["translator"]["env"]}
    assert names - {"TRANSLATOR_HOST"} == told("translator", tmp_path)
