"""Who sees which secret: as few as a process's own settings ask for, from one store, by names alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args, get_type_hints

import jsonschema
import pytest
from pydantic import SecretStr

from api.settings import ApiSettings, SecretEndpointSettings
from controller.clients.charts import ChartSettings
from controller.clients.email import MailSettings
from controller.clients.forge import ForgeSettings
from controller.clients.kubernetes import ClusterSettings
from controller.clients.stripe import StripeSettings
from controller.clients.telegram import TelegramSettings
from controller.core.metrics import MetricsSettings
from controller.core.settings import DatabaseSettings, Group, QueueSettings, SealingSettings, TokenSettings
from controller.domain.boxes import BoxSettings
from controller.domain.caps import CapSettings
from controller.domain.lifecycle import LifecycleSettings
from controller.domain.pod_metrics import PodMetricsSettings
from controller.gitops.repository import Repository
from controller.workers.notices import NoticeSettings
from controller.workers.rollouts import RolloutSettings
from controller.workers.stopping import StoppageSettings
from controller.workers.sweeper import SweeperSettings
from proxy.settings import LedgerSettings, ProxySettings
from tests.charts.deployments import PROCESSES, Object, changed, of, pod, rendered
from tests.charts.test_platform_migration import wave

STORE = (DatabaseSettings, QueueSettings)
CONTROL = (*STORE, SealingSettings, TokenSettings, BoxSettings)
"""What ``controller.workers.context`` loads."""
READS: dict[str, tuple[type[Group], ...]] = {
    "api": (*CONTROL, ApiSettings, StripeSettings, ChartSettings),
    "meter": (*STORE, MetricsSettings),
    "migrate": (DatabaseSettings,),
    "notices": (
        *STORE, SealingSettings, TelegramSettings, MailSettings, NoticeSettings, LifecycleSettings, MetricsSettings,
        ForgeSettings,
    ),
    "proxy": (*STORE, TokenSettings, ProxySettings, LedgerSettings),
    "secrets": (DatabaseSettings, SealingSettings, SecretEndpointSettings),
    "sweeper": (*CONTROL, LifecycleSettings, SweeperSettings, RolloutSettings, MetricsSettings),
    "watcher": (*STORE, ClusterSettings, PodMetricsSettings, StoppageSettings, MetricsSettings),
    "worker": (*CONTROL, StripeSettings, MetricsSettings),
    "writer": (
        *CONTROL, get_type_hints(Repository.__init__)["settings"], CapSettings, ClusterSettings, MetricsSettings
    ),
}  # fmt: skip
ALL = sorted(READS)
PUSH = {"GIT_TOKEN", "GIT_SSH_KEY", "GIT_SIGNING_KEY"}
"""What opens an ``https`` remote, and what an ``ssh`` one; and what commits are signed with, if they are."""
ONLY_IN = {
    "ADMIN_TOKEN": {"api"},
    "GIT_TOKEN": {"writer"},
    "LLM_UPSTREAM_KEY": {"proxy"},
    "SECRETS_TOKEN": {"secrets"},
    "SMTP_URL": {"notices"},
    "STRIPE_API_KEY": {"api", "worker"},
    "STRIPE_WEBHOOK_SECRET": {"api"},
    "SEALING_KEY": {"api", "notices", "secrets", "sweeper", "worker", "writer"},
    "TOKEN_PEPPER": {"api", "proxy", "sweeper", "worker", "writer"},
}
"""Whoever else sees one of these is one leak more."""


def environment(process: str) -> list[Object]:
    found: list[Object] = pod(process, "Job" if process == "migrate" else "Deployment")["containers"][0]["env"]
    return found


def secrets(process: str) -> set[str]:
    return {one["name"] for one in environment(process) if "valueFrom" in one}


def asked(process: str, *, required: bool) -> set[str]:
    return {
        name.upper()
        for group in READS[process]
        for name, field in group.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation)) and (field.is_required() or not required)
    }


@pytest.mark.parametrize(
    ("remote", "credential"),
    [
        ("https://git.example/x.git", {"GIT_TOKEN"}),
        ("ssh://git@git.example/x.git", {"GIT_SSH_KEY"}),
        ("git@git.example:x.git", {"GIT_SSH_KEY"}),
        ("http://git.openclaw-cloud:8000/x.git", set()),
    ],
)
def test_the_writer_alone_has_what_opens_the_remote(remote: str, credential: set[str]) -> None:
    made = [one for one in changed(settings={"git_remote": remote}) if one["kind"] == "ExternalSecret"]
    found = {one["metadata"]["name"]: {item["secretKey"] for item in one["spec"]["data"]} & PUSH for one in made}
    assert {name: keys for name, keys in found.items() if keys} == (
        {"platform-writer-v1": credential} if credential else {}
    )


def test_a_key_to_sign_with_is_the_writers_and_only_if_commits_are_signed() -> None:
    assert "GIT_SIGNING_KEY" not in str(rendered())
    made = [one for one in changed(secrets={"signing": True}) if "GIT_SIGNING_KEY" in str(one)]
    assert {(one["kind"], one["metadata"]["name"]) for one in made} == {
        ("Deployment", "writer"),
        ("ExternalSecret", "platform-writer-v1"),
    }


def test_the_token_of_a_forge_is_theirs_who_tell_people_and_only_if_there_is_one() -> None:
    assert "FORGE_TOKEN" not in str(rendered())
    made = [one for one in changed(settings={"forge_kind": "gitlab", "forge_project": "a/b"}) if "FORGE" in str(one)]
    assert {(one["kind"], one["metadata"]["name"]) for one in made} == {
        ("Deployment", "notices"),
        ("ExternalSecret", "platform-notices-v1"),
    }


def test_a_cap_that_is_turned_off_reaches_the_writer() -> None:
    (writer,) = [
        one
        for one in changed(settings={"cap_endings_an_hour": 0})
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", "writer")
    ]
    env = writer["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "CAP_ENDINGS_AN_HOUR", "value": "0"} in env


def external(process: str) -> Object:
    return of("ExternalSecret", f"platform-{process}-v1")


def test_every_process_and_the_migrations_are_looked_at() -> None:
    assert sorted([*PROCESSES, "migrate"]) == ALL


def test_whoever_asks_which_cell_it_serves_is_told() -> None:
    asking = {process for process in ALL if any("cell" in group.model_fields for group in READS[process])}
    assert "watcher" in asking
    assert asking == {process for process in ALL if "CELL" in {one["name"] for one in environment(process)}}


@pytest.mark.parametrize("process", ALL)
def test_a_process_gets_the_secrets_that_its_settings_ask_for_and_no_other(process: str) -> None:
    assert asked(process, required=True) <= secrets(process) <= asked(process, required=False) | PUSH


@pytest.mark.parametrize("process", ALL)
def test_a_process_is_told_nothing_that_it_does_not_read(process: str) -> None:
    fields = {name.upper() for group in READS[process] for name in group.model_fields}
    assert {one["name"] for one in environment(process)} - PUSH <= fields


@pytest.mark.parametrize("secret", ONLY_IN)
def test_a_secret_is_where_it_is_used_and_nowhere_else(secret: str) -> None:
    assert {process for process in ALL if secret in secrets(process)} == ONLY_IN[secret]
    fetched = {one["metadata"]["name"]: {item["secretKey"] for item in one["spec"]["data"]} for one in externals()}
    assert {name for name, keys in fetched.items() if secret in keys} == {
        f"platform-{one}-v1" for one in ONLY_IN[secret]
    }


def externals() -> list[Object]:
    return [one for one in rendered() if one["kind"] == "ExternalSecret"]


@pytest.mark.parametrize("process", ALL)
def test_what_a_process_reads_is_what_is_fetched_for_it(process: str) -> None:
    refs = [one["valueFrom"]["secretKeyRef"] for one in environment(process) if "valueFrom" in one]
    fetched = external(process)["spec"]
    assert {ref["name"] for ref in refs} == {fetched["target"]["name"]}
    assert {ref["key"] for ref in refs} == {one["secretKey"] for one in fetched["data"]}
    assert {(one["remoteRef"]["key"], one["remoteRef"]["property"] == one["secretKey"]) for one in fetched["data"]} == {
        ("openclaw-cloud/platform", True)
    }


def form() -> Object:
    """The form of a box's ExternalSecret, with the platform's names and any number of properties of one entry."""
    made: Object = json.loads((Path(__file__).parent / "external-secret.schema.json").read_text())
    names, data = made["properties"]["metadata"]["properties"], made["properties"]["spec"]["properties"]["data"]
    names["name"] = {"pattern": "^platform-[a-z]+-v[1-9][0-9]*$"}
    names["namespace"] = {"const": "openclaw-cloud"}
    del data["maxItems"]
    remote = data["items"]["properties"]["remoteRef"]
    remote["required"] = ["key", "property"]
    remote["properties"] |= {"key": {"type": "string"}, "property": {"pattern": "^[A-Z_]+$"}}
    return made


def test_every_external_secret_has_the_form_that_its_kind_asks_for() -> None:
    assert len(externals()) >= len(ALL)
    for item in externals():
        jsonschema.validate(item, form())


def test_a_new_version_is_a_new_secret_and_a_new_pod() -> None:
    made = {(one["kind"], one["metadata"]["name"]): one for one in changed(secrets={"version": 2})}
    env = made["Deployment", "api"]["spec"]["template"]["spec"]["containers"][0]["env"]
    names = {one["valueFrom"]["secretKeyRef"]["name"] for one in env if "valueFrom" in one}
    assert names == {"platform-api-v2"}
    assert ("ExternalSecret", "platform-api-v2") in made
    assert ("ExternalSecret", "platform-api-v1") not in made


def test_no_secret_has_its_value_in_the_chart() -> None:
    assert [one["kind"] for one in rendered() if one["kind"] == "Secret"] == []


STORE_FORM: Object = {
    "additionalProperties": False,
    "required": ["provider"],
    "properties": {
        "provider": {
            "additionalProperties": False,
            "required": ["kubernetes"],
            "properties": {
                "kubernetes": {
                    "additionalProperties": False,
                    "required": ["remoteNamespace", "server", "auth"],
                    "properties": {
                        "remoteNamespace": {"type": "string"},
                        "server": {"properties": {"caProvider": {"required": ["type", "name", "key"]}}},
                        "auth": {"required": ["serviceAccount"]},
                    },
                }
            },
        }
    },
}


def test_a_developers_store_is_one_secret_that_one_account_may_read() -> None:
    store = of("SecretStore", "development", "dev")["spec"]
    jsonschema.validate(store, STORE_FORM)
    account = store["provider"]["kubernetes"]["auth"]["serviceAccount"]["name"]
    rules = of("Role", account, "dev")["rules"]
    assert {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["platform"], "verbs": ["get"]} in rules
    assert [one["kind"] for one in of("RoleBinding", account, "dev")["subjects"]] == ["ServiceAccount"]
    users = {one["spec"]["secretStoreRef"]["name"] for one in rendered("dev") if one["kind"] == "ExternalSecret"}
    assert users == {"development"}


def test_production_makes_no_store() -> None:
    assert [one["kind"] for one in rendered() if "SecretStore" in one["kind"]] == []


def test_a_developers_store_is_there_before_those_who_ask_it() -> None:
    assert {
        wave(of(kind, name, "dev")) for kind, name in (("SecretStore", "development"), ("Role", "secret-store"))
    } == {-3}
