"""What the entrypoint writes into ``openclaw.json``: OpenClaw accepts a file without any of these, and we do not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.charts import platform as platforms
from tests.charts.platform import environment, running, soon

CLOUD = "models.providers.cloud"
ALWAYS: dict[str, Any] = {
    "session.dmScope": "per-channel-peer",
    "channels.telegram.dmPolicy": "allowlist",
    "channels.telegram.groupPolicy": "disabled",
    "channels.telegram.configWrites": False,
    "agents.defaults.heartbeat.every": "0m",
    "agents.defaults.skipBootstrap": True,
    "agents.defaults.thinkingDefault": "low",
    "agents.defaults.model.primary": "cloud/default",
    "agents.defaults.userTimezone": "America/Sao_Paulo",
    "memory.search.enabled": False,
    "plugins.entries.memory-core.config.dreaming.enabled": False,
    "telemetry.enabled": False,
    "update.checkOnStart": False,
    "update.auto.enabled": False,
    "discovery.mdns.mode": "off",
    "models.catalogRefresh.enabled": False,
    "gateway.bind": "lan",
    "gateway.auth.mode": "token",
    "gateway.auth.token": "${OPENCLAW_GATEWAY_TOKEN}",
    "gateway.controlUi.enabled": False,
    f"{CLOUD}.baseUrl": "http://proxy.example:8000/v1",
    f"{CLOUD}.api": "openai-completions",
    f"{CLOUD}.timeoutSeconds": 60,
}


def configured(folder: Path, **changed: str) -> dict[str, Any]:
    """The configuration of a box that was told ``changed``."""

    async def start() -> dict[str, Any]:
        async with platforms.serving() as platform:
            env = environment(folder, platform.url, OPENCLAW_PROXY_URL="http://proxy.example:8000/", **changed)
            async with running(platforms.make_image(folder / "image"), env) as box:
                await soon(platform.reports)
                return box.config()

    return asyncio.run(start())


def at(config: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        config = config[name]
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return configured(tmp_path_factory.mktemp("box"))


@pytest.mark.parametrize("dotted", ALWAYS)
def test_every_box_is_configured_so(config: dict[str, Any], dotted: str) -> None:
    assert at(config, dotted) == ALWAYS[dotted]


def test_the_thinking_level_and_the_developer_role_leave_the_gateway(config: dict[str, Any]) -> None:
    (model,) = at(config, f"{CLOUD}.models")
    assert model["compat"] == {"supportsReasoningEffort": True, "supportsDeveloperRole": True}


def test_a_box_that_may_not_run_commands_has_no_tool_for_them(config: dict[str, Any]) -> None:
    assert config["tools"]["exec"]["mode"] == "deny"
    assert "group:runtime" in config["tools"]["deny"]


def test_a_box_that_may_run_commands_runs_them_beside_the_gateway(tmp_path: Path) -> None:
    tools = configured(tmp_path, OPENCLAW_EXEC="full")["tools"]
    assert tools["exec"] == {"host": "gateway", "mode": "full"}
    assert "group:runtime" not in tools["deny"]


def test_a_box_without_a_browser_proxy_has_no_browser(config: dict[str, Any]) -> None:
    assert config["browser"] == {"enabled": False}
