"""The catalog, the translator beside the proxy, and what both are told: as soon as the values name providers."""

from __future__ import annotations

import copy
from typing import Any

import helm_python
import pytest

from controller.core.settings import Group
from proxy import catalog
from proxy.settings import LedgerSettings, ProxySettings, TranslatorSettings
from tests.charts.deployments import CATALOG, PROCESSES, Object, changed, containers, of, pod, rendered
from tests.charts.test_platform_secrets import READS

PROVIDERS_KEYS = {"LLM_KEYS": "token-proxy", "TRANSLATED_KEYS": "translator", "LLM_UPSTREAM_KEY": None}
SETTINGS: dict[str, tuple[type[Group], ...]] = {"translator": (TranslatorSettings,), "token-proxy": READS["proxy"]}


def refs(name: str) -> dict[str, Object]:
    """The variables of a container of the proxy's pod that are kept secret, each with where it is."""
    env = containers("proxy")[name]["env"]
    return {one["name"]: ref for one in env if (ref := one.get("valueFrom", {}).get("secretKeyRef"))}


def told(name: str, given: Object) -> dict[str, Any]:
    """What a container of the proxy's pod is told in words, with these settings."""
    (made,) = [one for one in changed(settings=given) if one["kind"] == "Deployment" and "proxy" in str(one["spec"])]
    found = made["spec"]["template"]["spec"]
    parts = [*found.get("initContainers", []), *found["containers"]]
    return {item["name"]: item.get("value") for one in parts if one["name"] == name for item in one["env"]}


def only(kind: str, objects: list[Object] | None = None) -> Object:
    (found,) = [one for one in (objects or rendered("translated")) if one["kind"] == kind]
    return found


def openai_alone() -> Object:
    given = copy.deepcopy(CATALOG)
    given["providers"]["claude"].pop("wire")
    return given


def test_without_a_catalog_there_is_no_trace_of_it() -> None:
    assert not any("translator" in str(one) or "LLM_CATALOG" in str(one) for one in rendered())


def test_the_translator_is_a_sidecar_of_the_proxy_and_of_nobody_else() -> None:
    assert {process for process in PROCESSES if "translator" in containers(process)} == {"proxy"}
    assert [one["args"] for one in pod("proxy", environment="translated")["initContainers"]] == [["translator"]]
    sidecar = containers("proxy")["translator"]
    assert (sidecar["restartPolicy"], sidecar["image"]) == ("Always", containers("proxy")["token-proxy"]["image"])


def test_a_provider_that_speaks_openai_needs_no_translator() -> None:
    made = changed(settings={"llm_catalog": openai_alone()})
    assert "LLM_CATALOG" in str(made)
    assert "ranslator" not in str(made).replace("translator_", "")


def test_both_are_told_the_same_catalog_and_the_proxy_can_read_it() -> None:
    asked = [
        item["valueFrom"]["configMapKeyRef"]
        for one in containers("proxy").values()
        for item in one["env"]
        if item["name"] == "LLM_CATALOG"
    ]
    made = only("ConfigMap")
    assert asked == [{"name": made["metadata"]["name"], "key": "catalog.yaml"}] * 2
    assert catalog.parse(made["data"]["catalog.yaml"]) == catalog.Catalog.model_validate(CATALOG)


def test_another_catalog_is_another_pod() -> None:
    names = [
        only("ConfigMap", changed(settings={"llm_catalog": one}))["metadata"]["name"]
        for one in (CATALOG, openai_alone())
    ]
    assert len(set(names)) == 2


def test_the_proxy_finds_its_translator_on_loopback() -> None:
    env = told("token-proxy", {"llm_catalog": CATALOG})
    (port,) = containers("proxy")["translator"]["ports"]
    assert env["TRANSLATOR_URL"] == f"http://127.0.0.1:{port['containerPort']}/v1"
    assert told("translator", {"llm_catalog": CATALOG})["TRANSLATOR_PORT"] == str(port["containerPort"])


@pytest.mark.parametrize(("secret", "where"), PROVIDERS_KEYS.items())
def test_a_providers_key_is_seen_by_who_speaks_to_it_alone(secret: str, where: str | None) -> None:
    assert [name for name in containers("proxy") if secret in refs(name)] == ([where] if where else [])


def test_the_two_share_one_secret_and_the_translator_has_none_of_the_proxys_else() -> None:
    assert refs("translator").keys() == {"TRANSLATOR_TOKEN", "TRANSLATED_KEYS"}
    assert refs("translator").keys() & refs("token-proxy").keys() == {"TRANSLATOR_TOKEN"}


@pytest.mark.parametrize(("name", "process"), [("translator", "translator"), ("token-proxy", "proxy")])
def test_each_is_fetched_what_it_reads_and_no_more(name: str, process: str) -> None:
    fetched = of("ExternalSecret", f"platform-{process}-v1", "translated")["spec"]
    assert {ref["name"] for ref in refs(name).values()} == {fetched["target"]["name"]}
    assert refs(name).keys() == {one["secretKey"] for one in fetched["data"]}


@pytest.mark.parametrize("name", SETTINGS)
def test_each_is_told_what_it_reads_alone(name: str) -> None:
    fields = {field.upper() for group in SETTINGS[name] for field in group.model_fields}
    assert {one["name"] for one in containers("proxy")[name]["env"]} <= fields


def test_only_monitoring_comes_to_the_translators_port() -> None:
    first, second = of("NetworkPolicy", "proxy", "translated")["spec"]["ingress"]
    assert first == of("NetworkPolicy", "proxy")["spec"]["ingress"][0]
    assert second["ports"] == [{"protocol": "TCP", "port": "translator"}]
    assert second["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_it_is_probed_and_a_busy_one_takes_nothing_else_away() -> None:
    sidecar = containers("proxy")["translator"]
    assert {sidecar[one]["httpGet"]["port"] for one in ("startupProbe", "livenessProbe")} == {"translator"}
    assert "readinessProbe" not in sidecar


def test_the_two_share_no_files() -> None:
    mounts = [{one["name"] for one in part["volumeMounts"]} for part in containers("proxy").values()]
    assert mounts[0] & mounts[1] == set()


def test_monitoring_tells_the_two_apart() -> None:
    made = changed(settings={"llm_catalog": CATALOG}, monitoring={})
    monitors = {one["metadata"]["name"]: one["spec"] for one in made if one["kind"] == "PodMonitor"}
    labels = of("Deployment", "proxy", "translated")["spec"]["template"]["metadata"]["labels"]
    jobs = {name: labels[monitors[name]["jobLabel"]] for name in ("token-proxy", "translator")}
    assert jobs == {"token-proxy": "token-proxy", "translator": "translator"}
    assert monitors["translator"]["selector"]["matchLabels"].items() <= labels.items()
    assert 'job=\\"translator\\"' in repr(made) or 'job="translator"' in str(made)


KNOBS: dict[str, Any] = {
    "rate_per_second": 2.5, "rate_burst": 20, "trusted_proxies": ["10.0.0.0/8"],
    "upstream_timeout": "PT300S", "upstream_idle": "PT60S", "upstream_hesitation": "PT10S",
}  # fmt: skip


def test_the_proxy_understands_what_ops_turn() -> None:
    env = told("token-proxy", KNOBS)
    settings = ProxySettings.model_validate(
        {"llm_upstream_url": env["LLM_UPSTREAM_URL"], "llm_upstream_key": "k"}
        | {name: env[name.upper()] for name in KNOBS if name != "trusted_proxies"}
        | {"trusted_proxies": ["10.0.0.0/8"]}
    )
    assert (settings.rate_per_second, settings.rate_burst) == (2.5, 20)
    assert settings.upstream_idle.total_seconds() == 60
    assert env["TRUSTED_PROXIES"] == '["10.0.0.0/8"]'


def test_calls_are_counted_apart_where_the_values_say_so() -> None:
    assert "CACHE_REDIS_URL" in {name.upper() for name in LedgerSettings.model_fields}
    assert "CACHE_REDIS_URL" not in str(rendered())
    made = [one for one in changed(secrets={"cache": True}) if "CACHE_REDIS_URL" in str(one)]
    assert {(one["kind"], one["metadata"]["name"]) for one in made} == {
        ("Deployment", "token-proxy"),
        ("ExternalSecret", "platform-proxy-v1"),
    }


def test_a_proxy_that_would_ask_nobody_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match="asks nobody"):
        changed(settings={"llm_upstream_url": None})


@pytest.mark.parametrize(
    "given",
    [
        {"llm_catalog": {"providers": {}, "models": CATALOG["models"]}},
        {"llm_catalog": CATALOG | {"keys": {"fast": "sk-1"}}},
        {"llm_catalog": {"providers": {"a": {"base_url": "https://a.example", "wire": "soap"}}, "models": {"m": {}}}},
        {"rate_burst": 0},
        {"trusted_proxies": ["everybody"]},
    ],
    ids=str,
)
def test_the_schema_refuses(given: Object) -> None:
    with pytest.raises(helm_python.HelmValuesError):
        changed(settings=given)
