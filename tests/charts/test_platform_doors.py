"""How the platform is reached from outside, and in what a developer's cluster differs from production."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, cast

import helm_python
import pytest

from api.app import create
from api.deps import Parts
from tests.charts.deployments import ENVIRONMENTS, Object, changed, of, rendered

PRIVATE = re.compile(r"/(internal|admin)/.*|/(metrics|healthz|readyz|docs.*|redoc|openapi\.json)")
DIFFER = {
    ("Deployment", "spec.template.spec.containers.*.env.CELL.value"),
    ("Deployment", "spec.template.spec.containers.*.env.CHARTS_URL.value"),
    ("Deployment", "spec.template.spec.containers.*.env.GIT_REMOTE.value"),
    ("Deployment", "spec.template.spec.containers.*.env.GIT_SSH_KEY"),
    ("Deployment", "spec.template.spec.containers.*.env.GIT_TOKEN"),
    ("Deployment", "spec.template.spec.containers.*.env.LLM_UPSTREAM_URL.value"),
    ("Deployment", "spec.template.spec.containers.*.env.STRIPE_API_URL"),
    ("Deployment", "spec.template.spec.containers.*.env.TELEGRAM_API_URL"),
    ("Deployment", "spec.template.metadata.annotations.prometheus.io/scheme"),
    ("Deployment", "spec.template.spec.containers.*.*Probe.httpGet.scheme"),
    ("Deployment", "spec.template.spec.containers.*.env.SECRETS_TLS_*"),
    ("Deployment", "spec.template.spec.containers.*.env.WEB_URL.value"),
    ("Deployment", "spec.template.spec.containers.*.volumeMounts.1"),
    ("Deployment", "spec.template.spec.volumes.1"),
    ("Deployment", "spec.template.spec.containers.*.image"),
    ("ExternalSecret", "spec.data.*.remoteRef.key"),
    ("ExternalSecret", "spec.data.GIT_SSH_KEY"),
    ("ExternalSecret", "spec.data.GIT_TOKEN"),
    ("ExternalSecret", "spec.secretStoreRef.kind"),
    ("ExternalSecret", "spec.secretStoreRef.name"),
    ("Job", "spec.template.spec.containers.*.image"),
    ("NetworkPolicy", "spec.egress.*.ports.*.port"),
    ("NetworkPolicy", "spec.egress.*.ports.*.protocol"),
    ("NetworkPolicy", "spec.egress.*.to.*.ipBlock.cidr"),
    ("NetworkPolicy", "spec.egress.*.to.*.ipBlock.except.*"),
    ("NetworkPolicy", "spec.egress.*.to.*.podSelector.matchLabels.app.kubernetes.io/name"),
    ("NetworkPolicy", "spec.ingress.*.from.*.ipBlock.cidr"),
    ("NetworkPolicy", "spec.ingress.*.from.*.namespaceSelector.matchLabels.kubernetes.io/metadata.name"),
    ("Service", "spec.ports.*.nodePort"),
    ("Service", "spec.type"),
}
NAMED = {"env": "name", "data": "secretKey"}
ONLY_IN_DEV = {("ExternalSecret", "platform-postgres-v1")} | {
    (kind, store)
    for kind in ("NetworkPolicy", "Service", "ServiceAccount", "StatefulSet")
    for store in ("postgres", "redis")
}
ONLY_IN_DEV |= {("SecretStore", "development")}
ONLY_IN_DEV |= {(kind, "secret-store") for kind in ("Role", "RoleBinding", "ServiceAccount")}
ONLY_IN_PRODUCTION = {("Certificate", "secrets-tls"), ("Ingress", "web")}


def ways(environment: str) -> dict[str, set[int | None]]:
    found = {one["metadata"]["name"]: one["spec"] for one in rendered(environment) if one["kind"] == "Service"}
    return {
        name: {port.get("nodePort") for port in spec["ports"]}
        for name, spec in found.items()
        if spec["type"] != "ClusterIP"
    }


def test_a_port_of_the_nodes_leads_in_on_a_developers_cluster_alone() -> None:
    assert ways("production") == {}
    assert ways("dev") == {"api": {30080}, "token-proxy": {30081}}


def test_production_is_entered_by_an_ingress_of_a_class_that_is_still_maintained() -> None:
    (ingress,) = [one for one in rendered() if one["kind"] == "Ingress"]
    assert ingress["spec"]["ingressClassName"] == "traefik"
    assert ingress["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "letsencrypt"}
    assert ingress["spec"]["tls"] == [{"hosts": ["openclaw.example"], "secretName": "web-tls"}]


def test_the_class_and_its_annotations_are_values() -> None:
    made = changed(ingress={"class_name": "nginx", "annotations": {"a": "b"}})
    (ingress,) = [one for one in made if one["kind"] == "Ingress"]
    assert (ingress["spec"]["ingressClassName"], ingress["metadata"]["annotations"]["a"]) == ("nginx", "b")


def test_an_ingress_for_pages_without_https_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match="https://"):
        changed(settings={"web_url": "http://openclaw.example"})


def is_routed(path: str) -> bool:
    (rule,) = of("Ingress", "web")["spec"]["rules"]
    return any(
        path == one["path"] or (one["pathType"] == "Prefix" and path.startswith(one["path"].rstrip("/") + "/"))
        for one in rule["http"]["paths"]
    )


def paths(routes: Iterable[Any]) -> Iterator[str]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from [route.path] if inner is None else paths(inner.routes)


def test_the_web_reaches_every_route_of_the_api_but_the_private_ones() -> None:
    routes = list(paths(create(cast(Parts, None)).routes))
    assert {"/webhooks/stripe", "/admin/jobs", "/internal/agent/profile", "/metrics"} <= set(routes)
    # a new route for customers has to be named in charts/platform/files/processes.yaml
    assert {path for path in routes if is_routed(path)} == {path for path in routes if not PRIVATE.fullmatch(path)}


def callers(process: str, environment: str = "production") -> list[Object]:
    (rule,) = of("NetworkPolicy", process, environment)["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]
    found: list[Object] = rule["from"]
    return found


def namespaces(process: str) -> set[str]:
    selectors = [one["namespaceSelector"] for one in callers(process)]
    labels = {one["matchLabels"]["kubernetes.io/metadata.name"] for one in selectors if "matchLabels" in one}
    return labels | {item["key"] for one in selectors for item in one.get("matchExpressions", [])}


@pytest.mark.parametrize(
    ("process", "who"),
    [
        ("api", {"monitoring", "openclaw.cloud/box", "traefik"}),
        ("proxy", {"monitoring", "openclaw.cloud/box"}),
        ("secrets", {"monitoring", "external-secrets"}),
        ("writer", {"monitoring"}),
        ("meter", {"monitoring"}),
    ],
)
def test_each_process_is_called_by_those_who_need_it_alone(process: str, who: set[str]) -> None:
    assert namespaces(process) == who


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_nobody_names_is_denied(environment: str) -> None:
    assert of("NetworkPolicy", "default-deny", environment)["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }


def leaves(node: Any, *path: str) -> dict[tuple[str, ...], Any]:
    """Every value by its path; an entry of a list by its name, if it is a variable."""
    if isinstance(node, list):
        named = {one[NAMED[path[-1]]] if path[-1] in NAMED else str(at): one for at, one in enumerate(node)}
        return {key: value for at, one in named.items() for key, value in leaves(one, *path, at).items()}
    if isinstance(node, dict) and node:
        return {key: value for name, one in node.items() for key, value in leaves(one, *path, name).items()}
    return {path: node}


def by_name(environment: str) -> dict[tuple[str, str], dict[tuple[str, ...], Any]]:
    return {(one["kind"], one["metadata"]["name"]): leaves(one) for one in rendered(environment)}


def is_allowed(kind: str, path: str) -> bool:
    return any(kind == one and (fnmatchcase(path, way) or fnmatchcase(path, f"{way}.*")) for one, way in DIFFER)


def test_only_what_has_to_differ_differs_from_production_on_a_developers_cluster() -> None:
    dev, production = by_name("dev"), by_name("production")
    assert production.keys() - dev.keys() == ONLY_IN_PRODUCTION
    assert dev.keys() - production.keys() == ONLY_IN_DEV
    found = {
        (name[0], ".".join(path))
        for name in dev.keys() & production.keys()
        for path in dev[name].keys() | production[name].keys()
        if dev[name].get(path) != production[name].get(path)
    }
    assert {one for one in found if not is_allowed(*one)} == set()
