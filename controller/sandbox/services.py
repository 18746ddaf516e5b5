"""Which processes make a sandbox, and what each of them is told: its own settings and nobody else's."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from controller.core.settings import load
from controller.sandbox import confinement
from controller.sandbox.confinement import ExecSettings
from controller.sandbox.processes import STOP_GRACE, python
from controller.sandbox.selling import selling
from controller.sandbox.state import State

CELL = "local"
DRAMATIQ_READY = "ready for action"
PODS_STOP = timedelta(seconds=60)
"""The cluster ends with its pods, each of which may take its 45 seconds."""
POD_METRICS = {"POD_METRICS_INTERVAL": "PT15S"}
"""A sandbox is looked at for minutes, not days."""
_INHERITED = (
    "PATH", "LANG", "TZ", "APP_ENV", "FAILPOINTS", "FAILPOINT_LOG", "RETENTION", "SWEEP_INTERVAL",
    "CAP_ENDINGS_A_BATCH", "CAP_ENDINGS_AN_HOUR", "CAP_DUNNING_AN_HOUR",
    "CAP_RETIREMENTS_A_BATCH", "CAP_RETIREMENTS_AN_HOUR", "RETIRE_AFTER",
    "STANDBY_STARTER", "STANDBY_PRO", "STANDBY_TEAM", "STANDBY_READY_WITHIN",
)  # fmt: skip


@dataclass(frozen=True)
class Service:
    """One of our own processes: its command and environment; it is ready when its port listens or its log says so."""

    name: str
    argv: list[str]
    env: dict[str, str]
    port: str | None = None
    says: str | None = None
    stop_grace: timedelta = STOP_GRACE


@dataclass(frozen=True)
class Addresses:
    """What is only known once the parts below are up."""

    dsn: str
    queue: str
    cache: str
    webhook_secret: str
    git: Path
    kubeconfig: Path
    image: Path
    open_place: Path


def vendors(state: State, data: Path) -> list[Service]:
    """The stand-ins for those outside: Stripe, Telegram, an LLM and whoever takes mail."""
    made = []
    for name in ("stripe", "telegram", "llm", "mail"):
        argv = python(f"controller.sandbox.{name}", "--port", str(state.ports[name]), "--data", str(data / name))
        if name == "llm":
            argv += ["--key", state.llm_key]
        if name == "mail":
            argv += ["--smtp-port", str(state.ports["smtp"])]
        made.append(Service(name, argv, _env(), name))
    return made


def platform(state: State, at: Addresses, data: Path, repo: Path) -> list[Service]:
    """Our own processes, in the order in which they start."""
    store = {"POSTGRES_DSN": at.dsn, "QUEUE_REDIS_URL": at.queue}
    keys = {"SEALING_KEY": state.sealing_key, "TOKEN_PEPPER": state.token_pepper, "CELL": CELL}
    stripe = {"STRIPE_API_KEY": state.stripe_api_key, "STRIPE_API_URL": state.url("stripe")}
    cluster = {"KUBECONFIG": str(at.kubeconfig)}
    git = {"GIT_REMOTE": str(at.git), "GIT_CLONE_DIR": str(data / "writer" / "clone.git")}
    api = {
        "API_PORT": str(state.ports["api"]),
        "WEB_URL": state.url("api"),
        "ADMIN_TOKEN": state.admin_token,
        "STRIPE_WEBHOOK_SECRET": at.webhook_secret,
        "NICHES_DIR": str(repo / "charts/box/files/niches"),
        "CHARTS_URL": f"{state.url('cluster')}/_charts",
    }
    secrets = {"SECRETS_PORT": str(state.ports["secrets"]), "SECRETS_TOKEN": state.secrets_token, "CELL": CELL}
    sealing = {"POSTGRES_DSN": at.dsn, "SEALING_KEY": state.sealing_key}
    proxy = {
        "CACHE_REDIS_URL": at.cache,
        "TOKEN_PEPPER": state.token_pepper,
        "PROXY_PORT": str(state.ports["proxy"]),
    }
    sold = selling(state)
    return [
        _ours("secrets", sealing | secrets, "secrets"),
        Service("cluster", _cluster(state, at, data, repo), _env(), "cluster", stop_grace=PODS_STOP),
        _ours("api", store | keys | stripe | api, "api"),
        _ours("proxy", store | proxy | sold.proxy, "proxy"),
        *([] if sold.translator is None else [_translator(sold.translator)]),
        _ours("worker", store | keys | stripe | _metrics(state, "worker"), says=DRAMATIQ_READY),
        _ours("writer", store | keys | git | cluster | _metrics(state, "writer"), says=DRAMATIQ_READY),
        _ours("notices", store | sealing | _post(state) | _metrics(state, "notices"), says=DRAMATIQ_READY),
        _ours("sweeper", store | keys | _metrics(state, "sweeper")),
        _ours("watcher", store | cluster | {"CELL": CELL} | POD_METRICS | _metrics(state, "watcher")),
        _ours("meter", store | _metrics(state, "meter")),
    ]


def _metrics(state: State, name: str) -> dict[str, str]:
    return {"METRICS_PORT": str(state.ports[f"metrics-{name}"])}


def _post(state: State) -> dict[str, str]:
    """How customers are reached: the Telegram of the sandbox, and its mail sink unless the environment says where."""
    mail = {"SMTP_URL": f"smtp://127.0.0.1:{state.ports['smtp']}"}
    mail |= {name: os.environ[name] for name in ("SMTP_URL", "MAIL_FROM") if name in os.environ}
    return {"TELEGRAM_API_URL": state.url("telegram"), "WEB_URL": state.url("api"), **mail}


def _ours(name: str, settings: dict[str, str], port: str | None = None, says: str | None = None) -> Service:
    return Service(name, [sys.executable, "-m", "controller", name], _env() | settings, port, says)


def _translator(settings: dict[str, str]) -> Service:
    """Nobody waits for it, and it gets what the others leave: importing its library takes seconds of CPU."""
    ours = _ours("translator", settings)
    return replace(ours, argv=["nice", "-n", "19", *ours.argv])


def _cluster(state: State, at: Addresses, data: Path, repo: Path) -> list[str]:
    values = {
        "name": CELL,
        "image": "sandbox.openclaw.cloud/box@sha256:" + "0" * 64,
        "api_url": state.url("api"),
        "proxy_url": state.url("proxy"),
        "telegram_api_url": state.url("telegram"),
        "snapshot_class": "sandbox",
        "exec": confinement.mode(load(ExecSettings), own_model=not any(name.startswith("LLM_") for name in os.environ)),
    }
    file = data / "cell-values.json"
    file.write_text(json.dumps(values))
    options = {
        "port": str(state.ports["cluster"]),
        "data": str(at.open_place / "cluster"),
        "git": str(at.git),
        "chart": str(repo / "charts/box"),
        "charts": str(data / "charts"),
        "cell": CELL,
        "cell-values": str(file),
        "secrets-url": state.url("secrets"),
        "secrets-token": state.secrets_token,
        "image": str(at.image),
    }
    # one word each: a token may begin with a dash, and would be read as an option of its own
    return python("controller.sandbox.cluster", *(f"--{name}={value}" for name, value in options.items()))


def _env() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"PYTHONUNBUFFERED": "1", **inherited}
