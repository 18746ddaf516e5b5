"""Other cells: the git writer alone gets their kubeconfig and a way to their API servers, where there are any."""

from __future__ import annotations

import functools
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from controller.gitops.platform_chart import schema
from tests.charts.deployments import Object, changed, of, rendered
from tests.charts.test_platform_migration import wave

CELLS: Object = {"cidrs": ["203.0.113.7/32"], "ports": [6443]}


@functools.cache
def federated() -> list[Object]:
    """Production with another cell."""
    return changed(destinations={"cells": CELLS})


def writer(kind: str) -> Any:
    names = {"writer", "platform-writer-v1"}
    (found,) = [one for one in federated() if one["kind"] == kind and one["metadata"]["name"] in names]
    return found


def test_with_one_cell_nothing_speaks_of_others() -> None:
    assert "CELLS_KUBECONFIG" not in str(rendered())


def test_the_writer_alone_gets_the_kubeconfig_and_calls_the_other_cells() -> None:
    told = {one["metadata"]["name"] for one in federated() if "CELLS_KUBECONFIG" in str(one)}
    calls = {one["metadata"]["name"] for one in federated() if CELLS["cidrs"][0] in str(one)}
    assert (told, calls) == ({"writer", "platform-writer-v1"}, {"writer"})
    assert [one["metadata"]["name"] for one in federated() if "/cells" in str(one)] == ["writer"]


def test_it_is_a_file_that_only_the_pods_group_reads_and_no_variable_holds_it() -> None:
    spec = writer("Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (volume,) = [one["secret"] for one in spec["volumes"] if one["name"] == "cells"]
    assert volume == {
        "secretName": "platform-writer-v1", "defaultMode": 0o440,
        "items": [{"key": "CELLS_KUBECONFIG", "path": "kubeconfig"}],
    }  # fmt: skip
    assert {"name": "cells", "mountPath": "/cells", "readOnly": True} in container["volumeMounts"]
    told = [one for one in container["env"] if one["name"] == "CELLS_KUBECONFIG"]
    assert told == [{"name": "CELLS_KUBECONFIG", "value": "/cells/kubeconfig"}]


def test_it_comes_from_the_store_with_the_writers_other_secrets() -> None:
    made = writer("ExternalSecret")
    assert "CELLS_KUBECONFIG" in {one["secretKey"] for one in made["spec"]["data"]}
    assert wave(made) == -2


def test_the_other_cells_are_one_more_way_out_beside_all_that_it_had() -> None:
    way = {"to": [{"ipBlock": {"cidr": CELLS["cidrs"][0]}}], "ports": [{"protocol": "TCP", "port": 6443}]}
    had = of("NetworkPolicy", "writer")["spec"]["egress"]
    assert writer("NetworkPolicy")["spec"]["egress"] == [*had, way]


def test_kubernetes_schemas_accept_it() -> None:
    for one in federated():
        if not one["apiVersion"].startswith(("external-secrets.io", "cert-manager.io")):
            kubernetes_validate.validate(one, "1.37", strict=True)


@pytest.mark.parametrize("cells", [{"cidrs": [], "ports": [6443]}, {"cidrs": ["203.0.113.7/32"], "ports": []}, {}])
def test_another_cell_is_never_the_whole_internet(cells: Object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cells, {"$ref": "#/$defs/NamedDestination", "$defs": schema()["$defs"]})
