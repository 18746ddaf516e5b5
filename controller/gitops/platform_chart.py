"""What ``charts/platform`` is given. Its schema is written from here (``make generate``), never by hand.

An environment chooses addresses, sizes and doors. What a process may see and whom it calls is the chart's own
(``files/processes.yaml``) and no value.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from controller.gitops.chart import Cidr, Image, Name, Url
from controller.gitops.manifests import Cell, Release

CHART_DIR = Path(__file__).resolve().parents[2] / "charts/platform"

_HOST, _PATH = r"[A-Za-z0-9.:_-]+", r"[A-Za-z0-9._~/-]+"
Remote = Annotated[
    str,
    StringConstraints(
        pattern=rf"^(https?://{_HOST}/{_PATH}|ssh://([a-z]+@)?{_HOST}/{_PATH}|[a-z]+@[A-Za-z0-9._-]+:{_PATH})$"
    ),
]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,200}$")]
Duration = Annotated[str, StringConstraints(pattern=r"^P(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?$")]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
# Strict: Helm's check takes no "443" or true for a number either.
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
NodePort = Annotated[int, Field(strict=True, ge=30000, le=32767)]
Cap = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Standbys = Annotated[int, Field(strict=True, ge=0, le=500)]
Rate = Annotated[float, Field(strict=True, gt=0, le=10_000)]
Burst = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Replicas = Annotated[int, Field(strict=True, ge=1, le=50)]
Seconds = Annotated[int, Field(strict=True, ge=5, le=60)]
Gibibytes = Annotated[int, Field(strict=True, ge=1, le=10_000)]


class _Values(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Provider(BaseModel):
    """One of the catalog's: what the chart looks at. The rest is read by the proxy, which names what is wrong."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    base_url: Url
    wire: Literal["openai", "anthropic", "gemini", "litellm"] = "openai"
    """What it speaks: where one has another than ``openai``, a translator runs beside each proxy."""


class Catalog(_Values):
    """As ``LLM_CATALOG`` has it, in values. No key is in it: those are the secrets LLM_KEYS and TRANSLATED_KEYS."""

    providers: Annotated[dict[Line, Provider], Field(min_length=1)]
    models: Annotated[dict[Line, dict[str, Any]], Field(min_length=1)]


class Settings(_Values):
    """What processes are told, each as the variable of that name; which of them is told what is the chart's."""

    cell: Cell
    web_url: Url
    """Where customers reach us; its host is the Ingress's."""

    git_remote: Remote
    """The GitOps repository, without a credential."""

    git_user: Line | None = None
    """The name that goes with an ``https`` remote's token."""

    git_known_hosts: str | None = None
    """The lines of a known_hosts file that name an ``ssh`` remote."""

    cap_endings_a_batch: Cap | None = None
    cap_endings_an_hour: Cap | None = None
    cap_dunning_an_hour: Cap | None = None
    cap_retirements_a_batch: Cap | None = None
    cap_retirements_an_hour: Cap | None = None
    """How far the git writer goes unattended (``controller/domain/caps.py``); 0 turns a cap off."""

    forge_kind: Literal["github", "gitlab"] | None = None
    """Where people see what became of their commits; None: nowhere."""

    forge_url: Url | None = None
    """The forge's API, for an installation of one's own."""

    forge_project: Key | None = None
    """The repository there: ``owner/name``."""

    llm_upstream_url: Url | None = None
    """An OpenAI-compatible base address, ``/v1`` included; None: ``llm_catalog`` says whom the proxy asks."""

    llm_catalog: Catalog | None = None
    """The providers and models (``proxy/catalog.py``), instead of ``llm_upstream_url``."""

    upstream_timeout: Duration | None = None
    upstream_idle: Duration | None = None
    upstream_hesitation: Duration | None = None
    """How long an answer, a silence in it and its first byte may take (``proxy/settings.py``)."""

    rate_per_second: Rate | None = None
    rate_burst: Burst | None = None
    """Calls of one customer, in the long run and at once."""

    trusted_proxies: tuple[Cidr, ...] | None = None
    """Networks whose ``X-Forwarded-For`` the proxy believes."""

    translator_most: Burst | None = None
    """Calls at the same time that one translator takes."""

    stripe_api_url: Url | None = None
    """A stand-in for Stripe; None: Stripe."""

    telegram_api_url: Url | None = None
    """A stand-in for Telegram, or a Bot API server of our own; None: Telegram."""

    llm_models: dict[Line, Line] | None = None
    """Public model name → the upstream's."""

    box_release: Release | None = None
    """The release of new boxes until a rollout was completed."""

    charts_url: Url | None = None
    """The Helm repository with the boxes' chart, as the cells have it; None: nobody can start a rollout."""

    standby_starter: Standbys | None = None
    standby_pro: Standbys | None = None
    standby_team: Standbys | None = None
    """Boxes of each plan that stand by in the cell, booted and unowned (``controller/domain/standbys.py``); 0: none."""

    standby_ready_within: Duration | None = None
    """A standby that is not ready so long after its commit is replaced."""

    mail_from: Line | None = None
    retention: Duration | None = None
    """How long a cancelled box's data is kept, as ISO 8601 has it: ``P7D``."""

    retire_after: Duration | None = None
    """How long a destroyed box's empty file and Application stay, in the same form."""


class ReplicasOf(_Values):
    """The processes that may run more than once; a rollout of these interrupts nobody."""

    api: Replicas = 1
    proxy: Replicas = 1
    secrets: Replicas = 1


class NodePorts(_Values):
    """Ports of every node that lead to a process."""

    api: NodePort | None = None
    proxy: NodePort | None = None


class Ingress(_Values):
    """How the web comes in."""

    class_name: Name
    namespace: Name
    """Where the class's controller runs: its pods may call the API."""

    annotations: dict[Key, str] = {}
    """For the controller and for cert-manager."""


class Store(_Values):
    """The store of External Secrets that holds what processes keep secret."""

    kind: Literal["SecretStore", "ClusterSecretStore"]
    name: Name
    entry: Key
    """The entry whose properties are called as the variables are."""

    local: bool = False
    """Whether the chart makes the store itself, over a Secret that is called as the entry: for developers."""


class Issuer(_Values):
    """Who signs a certificate, as cert-manager names it."""

    kind: Literal["Issuer", "ClusterIssuer"]
    name: Name


class Secrets(_Values):
    """Where secrets come from."""

    store: Store
    version: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    """Raised after a value changed: every process then gets a new Secret and a new pod."""

    signing: Annotated[bool, Field(strict=True)] = False
    """Whether the git writer gets a key to sign its commits with."""

    cache: Annotated[bool, Field(strict=True)] = False
    """Whether the token proxy counts calls in a Redis of its own; it is reached as the queue's is."""

    tls: Issuer | None = None
    """For the secret endpoint; None: it speaks plain HTTP."""


class OwnStore(_Values):
    """A database of the chart's own: one pod with one volume and no copy."""

    image: Image
    """The official one, by digest."""

    volume_gib: Gibibytes


class OwnStores(_Values):
    """Postgres, and the Redis that carries the queue, in which the proxy counts too."""

    postgres: OwnStore
    redis: OwnStore


class NangoDatabase(_Values):
    """A database of Nango's own, at the destination ``postgres``; its password is a secret."""

    host: Name
    port: Port
    name: Name
    user: Name
    tls: bool


class Nango(_Values):
    """The service that holds customers' connections to others."""

    image: Image
    server_url: Url
    """Where browsers reach it; providers send customers back to ``/oauth/callback`` there."""

    connect_url: Url
    """Where browsers reach its page, a host of its own."""

    database: NangoDatabase


class Destination(_Values):
    """Where one kind of traffic may go: TCP, to these ranges; without any, the internet without private ranges."""

    cidrs: tuple[Cidr, ...]
    ports: Annotated[tuple[Port, ...], Field(min_length=1)]


class NamedDestination(Destination):
    """One that is ours, and so never the internet."""

    cidrs: Annotated[tuple[Cidr, ...], Field(min_length=1)]


class Destinations(_Values):
    """By kind; ``files/processes.yaml`` says which process has which."""

    postgres: NamedDestination
    redis: NamedDestination
    kubernetes: NamedDestination
    """The API server: the service's address and those behind it."""

    cells: NamedDestination | None = None
    """The API servers of the other cells, whose kubeconfig the git writer then gets (CELLS_KUBECONFIG); None: there
    are none."""

    git: Destination
    web: Destination
    mail: Destination


class Monitoring(_Values):
    """What the Prometheus Operator is told: whom to scrape, and what to alert about (``files/alerts.yaml``)."""

    labels: dict[Key, Line] = {}
    """By which its Prometheus picks the monitors and rules that it reads; none: it reads all."""

    scrape_seconds: Seconds = 30
    """At most 60: a rate over the rules' five minutes needs several looks."""


class PlatformValues(_Values):
    """All values of ``charts/platform``; what is not named here is refused."""

    image: Image
    """The processes' image, by digest: a tag can be moved."""

    image_pull_secret: Name | None = None
    """The Secret in the platform's namespace with which images are pulled; None: the registry lets everybody."""

    argocd_namespace: Name
    monitoring_namespace: Name
    """Whose pods may read every process's ``/metrics``."""

    external_secrets_namespace: Name
    """Whose pods may call the secret endpoint."""

    settings: Settings
    secrets: Secrets
    replicas: ReplicasOf
    node_ports: NodePorts
    ingress: Ingress | None = None
    """None: no way in by the web."""

    stores: OwnStores | None = None
    """For a developer's cluster; None: they are outside, where ``destinations`` says."""

    nango: Nango | None = None
    """None: there is none."""

    monitoring: Monitoring | None = None
    """None: nobody is told, as in a cluster without the operator's kinds; pods still carry ``prometheus.io/*``."""

    destinations: Destinations
    watchers: Annotated[dict[Cell, NamedDestination], Field(json_schema_extra={"additionalProperties": False})] = {}
    """Other cells whose watchers run here, each with where its API server is; its kubeconfig is a secret,
    KUBECONFIG_<CELL> with ``_`` for ``-``. The platform's own cell has a watcher anyway."""

    blocked_cidrs: tuple[Cidr, ...]
    """Closed to the internet's traffic beside all private ranges."""


def schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of the chart's values, as Helm checks it at every render."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | PlatformValues.model_json_schema()


def schema_file() -> bytes:
    """``values.schema.json``."""
    return json.dumps(schema(), indent=2).encode() + b"\n"


def write(chart_dir: Path = CHART_DIR) -> None:
    """Bring the schema up to date."""
    (chart_dir / "values.schema.json").write_bytes(schema_file())


if __name__ == "__main__":
    write()
