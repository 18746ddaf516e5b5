"""Watchers of other cells: each a process of its own with that cell's kubeconfig, a way there, and no right here."""

from __future__ import annotations

import functools
import json
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import pytest

from controller.gitops.platform_chart import PlatformValues, schema
from tests.charts.deployments import Object, changed, of, rendered
from tests.charts.test_platform_migration import wave

US: Object = {"cidrs": ["203.0.113.7/32"], "ports": [6443]}
AP: Object = {"cidrs": ["203.0.113.9/32"], "ports": [443]}
NAME = "watcher-us1-a"


@functools.cache
def _federated() -> str:
    monitoring = {"labels": {}, "scrape_seconds": 30}
    return json.dumps(changed(watchers={"us1-a": US, "ap1-b": AP}, monitoring=monitoring))


def one(kind: str, name: str = NAME) -> Any:
    made = json.loads(_federated())
    (found,) = [each for each in made if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def container(name: str = NAME) -> Object:
    (found,) = one("Deployment", name)["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def shape(item: Object, name: str) -> Object:
    """The object without what names its process."""
    found: Object = json.loads(json.dumps(item).replace(name, "watcher"))
    return found


def test_without_other_cells_there_is_the_cells_own_watcher_alone() -> None:
    assert [each["kind"] for each in rendered() if each["metadata"]["name"].startswith("watcher-")] == []
    assert "KUBECONFIG" not in str(rendered())


def test_each_other_cell_has_a_watcher_that_is_told_whose_it_is() -> None:
    told = {
        each["metadata"]["name"]: {
            item["name"]: item.get("value") for item in container(each["metadata"]["name"])["env"]
        }
        for each in json.loads(_federated())
        if each["kind"] == "Deployment" and each["metadata"]["name"].startswith("watcher")
    }
    assert {name: env["CELL"] for name, env in told.items()} == {
        "watcher": "eu1-a", NAME: "us1-a", "watcher-ap1-b": "ap1-b",
    }  # fmt: skip
    assert [container(name)["args"] for name in told] == [["watcher"]] * 3


@pytest.mark.parametrize("kind", ["ServiceAccount", "Service", "PodMonitor"])
def test_it_has_all_that_the_cells_own_has(kind: str) -> None:
    assert shape(one(kind), NAME) == one(kind, "watcher")


def test_it_runs_as_the_cells_own_does_but_for_the_account() -> None:
    own, other = (one("Deployment", name)["spec"] for name in ("watcher", NAME))
    assert (other["replicas"], other["strategy"]) == (own["replicas"], own["strategy"])
    for name in ("startupProbe", "readinessProbe", "livenessProbe", "resources", "securityContext"):
        assert container()[name] == container("watcher")[name]
    assert own["template"]["spec"]["automountServiceAccountToken"] is True
    assert other["template"]["spec"]["automountServiceAccountToken"] is False


def test_it_has_no_right_in_this_cluster() -> None:
    bound = [each for each in json.loads(_federated()) if each["kind"].endswith("RoleBinding")]
    assert NAME not in str(bound)


def test_its_kubeconfig_is_a_file_of_a_secret_that_it_alone_has() -> None:
    (volume,) = [
        each["secret"] for each in one("Deployment")["spec"]["template"]["spec"]["volumes"] if each["name"] == "cells"
    ]
    assert volume == {
        "secretName": f"platform-{NAME}-v1", "defaultMode": 0o440,
        "items": [{"key": "KUBECONFIG_US1_A", "path": "kubeconfig"}],
    }  # fmt: skip
    assert {"name": "cells", "mountPath": "/cells", "readOnly": True} in container()["volumeMounts"]
    assert {"name": "KUBECONFIG", "value": "/cells/kubeconfig"} in container()["env"]
    having = {each["metadata"]["name"] for each in json.loads(_federated()) if "KUBECONFIG_US1_A" in str(each)}
    assert having == {NAME, f"platform-{NAME}-v1"}


def test_its_secrets_come_from_the_store_before_everything_else() -> None:
    made, own = (one("ExternalSecret", f"platform-{name}-v1") for name in (NAME, "watcher"))
    kept = {each["secretKey"] for each in own["spec"]["data"]}
    assert {each["secretKey"] for each in made["spec"]["data"]} == kept | {"KUBECONFIG_US1_A"}
    assert wave(made) == -2


def test_it_calls_its_own_cells_api_server_and_no_other() -> None:
    own = of("NetworkPolicy", "watcher")["spec"]["egress"]
    way = {"to": [{"ipBlock": {"cidr": US["cidrs"][0]}}], "ports": [{"protocol": "TCP", "port": 6443}]}
    assert one("NetworkPolicy")["spec"]["egress"] == [*own[:-1], way]
    assert one("NetworkPolicy")["spec"]["ingress"] == of("NetworkPolicy", "watcher")["spec"]["ingress"]
    calling = {each["metadata"]["name"] for each in json.loads(_federated()) if US["cidrs"][0] in str(each)}
    assert calling == {NAME}


def test_somebody_is_woken_when_it_is_away() -> None:
    alerts = one("PrometheusRule", "platform")["spec"]["groups"][0]["rules"]
    assert {"watcher", NAME, "watcher-ap1-b"} <= {each["labels"].get("process") for each in alerts}


def test_kubernetes_schemas_accept_it() -> None:
    for each in json.loads(_federated()):
        if not each["apiVersion"].startswith(("external-secrets.io", "cert-manager.io", "monitoring.coreos.com")):
            kubernetes_validate.validate(each, "1.37", strict=True)


def test_the_cells_own_watcher_is_no_other_cells() -> None:
    with pytest.raises(helm_python.HelmError, match="has its own watcher"):
        changed(watchers={"eu1-a": US})


@pytest.mark.parametrize("cells", [{"us1-a": {"cidrs": [], "ports": [6443]}}, {"us1-a": {}}, {"US": US}, ["us1-a"]])
def test_a_cell_that_is_no_cell_is_refused(cells: Any) -> None:
    wanted = schema()["properties"]["watchers"]
    assert "watchers" in PlatformValues.model_fields
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cells, {**wanted, "$defs": schema()["$defs"]})
