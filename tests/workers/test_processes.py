"""Every process of ``openclaw-cloud`` shows Prometheus what it does: all are really started here, once."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from controller import cli
from controller.core import crypto, metrics
from controller.sandbox.postgres import Postgres
from controller.sandbox.processes import free_port
from controller.sandbox.valkey import Valkey
from tests import factories
from tests.charts.alerts import ROWS, asked, rules
from tests.conftest import TEMPLATE
from tests.sandbox.stripe.serving import eventually
from tests.workers.test_pod_metrics import KUBECONFIG

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {"migrate", "up", "demo"}
"""Commands that are no process of the platform: they end, or start the others."""

WEB = {"api": "API_PORT", "secrets": "SECRETS_PORT", "proxy": "PROXY_PORT", "translator": "TRANSLATOR_PORT"}
SHOWN = {
    "api": {"api_requests_total", "api_request_seconds", "stripe_key_refused_total"},
    "secrets": {"secrets_given_total", "secrets_requests_total", "tls_certificate_end_timestamp_seconds"},
    "proxy": {"proxy_requests_total", "proxy_tokens_total", "proxy_breaker_open"},
    "translator": {"translator_requests_total", "translator_turned_away_total"},
    "worker": {"billing_events_total"},
    "writer": {"git_commits_total", "git_push_seconds", "git_failures_total"},
    "notices": {"notices_attempts_total"},
    "sweeper": {
        "inbox_waiting", "inbox_oldest_waiting_seconds", "inbox_set_aside", "jobs", "jobs_oldest_open_seconds",
        "notices", "notices_oldest_open_seconds", "subscriptions_unserved", "sweeper_rings_total",
        "rollout_state", "rollout_ring", "rollout_boxes", "rollout_failures_total",
        "standbys_wanted", "standbys_ready", "standbys_too_slow_total",
    },
    "watcher": {
        "watcher_last_event_timestamp_seconds", "watcher_last_contact_timestamp_seconds", "watcher_failures_total",
        "pod_metrics_rows_total", "pod_metrics_failures_total", "pod_metrics_last_success_timestamp_seconds",
    },
    "meter": {
        "meter_lag_seconds", "meter_backlog_entries", "meter_set_aside", "meter_entries_total", "meter_recovered_total",
    },
}  # fmt: skip
CATALOG = "providers: {p: {base_url: 'http://127.0.0.1:9', wire: anthropic}}\nmodels: {m: {provider: p}}"
OWN = {"translator": {"TRANSLATOR_TOKEN": "t", "LLM_CATALOG": CATALOG, "TRANSLATED_KEYS": '{"p": "k"}'}}
"""What one process needs beside what all get."""

THEIRS = {"implementation", "major", "minor", "patchlevel", "version", "generation", "le"}
"""Labels of the client library's own metrics."""


def environment(dsn: str, queue: Valkey, folder: Path) -> dict[str, str]:
    """Settings with which every process starts; nothing outside is asked at the start."""
    (folder / "kubeconfig").write_text(KUBECONFIG.format(url="http://127.0.0.1:9"))
    (folder / "niches").mkdir()
    return {
        "PATH": os.environ["PATH"], "POSTGRES_DSN": dsn, "QUEUE_REDIS_URL": queue.url,
        "SEALING_KEY": crypto.new_key(), "TOKEN_PEPPER": factories.PEPPER, "STRIPE_API_KEY": "sk_test_0",
        "STRIPE_API_URL": "http://127.0.0.1:9", "STRIPE_WEBHOOK_SECRET": "whsec_0", "ADMIN_TOKEN": "a" * 32,
        "SECRETS_TOKEN": "s" * 32, "WEB_URL": "http://127.0.0.1:9", "NICHES_DIR": str(folder / "niches"),
        "GIT_REMOTE": str(folder / "none.git"), "GIT_CLONE_DIR": str(folder / "clone.git"),
        "KUBECONFIG": str(folder / "kubeconfig"), "LLM_UPSTREAM_URL": "http://127.0.0.1:9", "LLM_UPSTREAM_KEY": "k",
    }  # fmt: skip


@pytest.fixture(scope="module")
def migrated(postgres: Postgres, runner: asyncio.Runner) -> str:
    """The address of a database for the processes of this module, which ends with the run."""

    async def make() -> None:
        admin = await asyncpg.connect(postgres.dsn())
        await admin.execute(f"CREATE DATABASE processes TEMPLATE {TEMPLATE}")
        await admin.close()

    runner.run(make())
    return postgres.dsn("processes")


@pytest.fixture(scope="module")
def pages(migrated: str, queue_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What each process shows, by its name."""
    folder = tmp_path_factory.mktemp("processes")
    env = environment(migrated, queue_server, folder)
    ports = {name: free_port() for name in SHOWN}
    running = []
    try:
        for name, port in ports.items():
            own = env | OWN.get(name, {}) | {WEB.get(name, "METRICS_PORT"): str(port)}
            argv = [sys.executable, "-m", "controller", name]
            with (folder / f"{name}.log").open("wb") as log:
                running.append(subprocess.Popen(argv, env=own, cwd=ROOT, stdout=log, stderr=log))
        yield {name: eventually(lambda port=port: scraped(port), 120) for name, port in ports.items()}  # type: ignore[misc]
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(60)


def scraped(port: int) -> str:
    """The page, or nothing while nobody listens."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text
    except httpx.TransportError:
        return ""


def test_every_process_is_looked_at_here() -> None:
    names = {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    assert names - COMMANDS == SHOWN.keys()


@pytest.mark.parametrize("name", SHOWN)
def test_the_process_shows_what_ops_need(pages: dict[str, str], name: str) -> None:
    typed = set(re.findall(r"^# TYPE (\S+)", pages[name], re.MULTILINE))
    assert SHOWN[name] | {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= typed


@pytest.mark.parametrize("alert", ROWS)
def test_what_an_alert_looks_at_is_shown(pages: dict[str, str], alert: str) -> None:
    typed = {name for page in pages.values() for name in re.findall(r"^# TYPE (\S+)", page, re.MULTILINE)}
    (rule, *_) = [rule for rule in rules() if rule["alert"] == alert]
    # how a scrape went is Prometheus' own to say
    assert {one.metric for one in asked(rule["expr"])} - {"up"} <= typed


@pytest.mark.parametrize("name", SHOWN)
def test_the_process_shows_nothing_without_bound(pages: dict[str, str], name: str) -> None:
    assert set(re.findall(r'[{,](\w+)="', pages[name])) <= metrics.LABELS | THEIRS
