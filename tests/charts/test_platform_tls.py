"""The secret endpoint's TLS, and that every cell calls the platform where the platform listens."""

from __future__ import annotations

from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

from tests.argocd.cells import ROOT
from tests.charts.deployments import Object, of, pod, rendered

PLATFORMS = {"eu1-a": "production", "local": "dev"}
"""Which of the platform's environments each cell of the tree belongs to."""
CERTIFICATE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["secretName", "issuerRef", "dnsNames"],
    "properties": {
        "secretName": {"type": "string"},
        "issuerRef": {
            "additionalProperties": False,
            "required": ["name", "kind", "group"],
            "properties": {
                "group": {"const": "cert-manager.io"},
                "kind": {"enum": ["Issuer", "ClusterIssuer"]},
                "name": {"type": "string"},
            },
        },
        "dnsNames": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        "duration": {"pattern": "^[0-9]+h$"},
        "renewBefore": {"pattern": "^[0-9]+h$"},
        "usages": {"items": {"enum": ["digital signature", "server auth"]}},
        "privateKey": {
            "additionalProperties": False,
            "properties": {
                "algorithm": {"enum": ["RSA", "ECDSA", "Ed25519"]},
                "size": {"type": "integer"},
                "rotationPolicy": {"enum": ["Never", "Always"]},
            },
        },
    },
}
"""The form of a Certificate's spec, as far as it is used here."""


def test_the_certificate_has_the_form_that_its_kind_asks_for() -> None:
    jsonschema.validate(of("Certificate", "secrets-tls")["spec"], CERTIFICATE)


def test_the_endpoint_is_given_its_certificate_and_nobody_else_is() -> None:
    users = [
        one["metadata"]["name"]
        for one in rendered()
        if one["kind"] == "Deployment" and "secrets-tls" in str(one["spec"])
    ]
    assert users == ["secrets"]
    (container,) = pod("secrets")["containers"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert (env["SECRETS_TLS_CERT"], env["SECRETS_TLS_KEY"]) == ("/tls/tls.crt", "/tls/tls.key")
    assert {"name": "tls", "mountPath": "/tls", "readOnly": True} in container["volumeMounts"]


def test_the_endpoint_is_probed_by_the_way_that_it_speaks() -> None:
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    for process, environment, scheme in (
        ("secrets", "production", "HTTPS"),
        ("secrets", "dev", None),
        ("api", "production", None),
    ):
        (container,) = of("Deployment", process, environment)["spec"]["template"]["spec"]["containers"]
        assert {container[probe]["httpGet"].get("scheme") for probe in probes} == {scheme}


def addresses(cell: str) -> dict[str, str]:
    values: Object = yaml.safe_load((ROOT / "cells" / f"{cell}.yaml").read_text())
    return {
        "api": values["cell"]["api_url"],
        "token-proxy": values["cell"]["proxy_url"],
        "secrets": values["secrets"]["url"],
    }


def test_every_cell_has_its_platform() -> None:
    assert {path.stem for path in (ROOT / "cells").glob("*.yaml")} == PLATFORMS.keys()


@pytest.mark.parametrize("cell", PLATFORMS)
@pytest.mark.parametrize("name", ["api", "token-proxy", "secrets"])
def test_a_cell_calls_the_platform_where_it_listens(cell: str, name: str) -> None:
    at = urlsplit(addresses(cell)[name])
    service = of("Service", name, PLATFORMS[cell])
    assert at.hostname == f"{service['metadata']['name']}.{service['metadata']['namespace']}"
    assert at.port in {port["port"] for port in service["spec"]["ports"]}
    speaks_tls = any(
        one["name"] == "tls" for one in of("Deployment", name, PLATFORMS[cell])["spec"]["template"]["spec"]["volumes"]
    )
    assert at.scheme == ("https" if speaks_tls else "http")


def test_the_certificate_names_the_endpoint_as_cells_call_it() -> None:
    assert urlsplit(addresses("eu1-a")["secrets"]).hostname in of("Certificate", "secrets-tls")["spec"]["dnsNames"]
