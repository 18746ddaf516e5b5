"""What the entrypoint makes of a profile's connections, and the command that fetches a credential when it is needed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.sandbox.processes import free_port
from tests.charts import platform as platforms
from tests.charts.boxes import CHART
from tests.charts.platform import NODE, TOKEN, WITHIN, Platform, connection, environment, running, soon

COMMAND = CHART / "files/commands/with-connection"
CREDENTIAL = {"variable": "GH_TOKEN", "value": "gho_of_this_hour"}
PRINT = "process.stdout.write(JSON.stringify([process.env.GH_TOKEN, process.argv.slice(1)]))"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return platforms.make_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    async with platforms.serving() as served:
        yield served


def full(tmp_path: Path, platform: Platform) -> dict[str, str]:
    return environment(tmp_path, platform.url, OPENCLAW_EXEC="full")


async def test_a_connected_mcp_provider_is_a_server_of_the_gateway_and_of_mcporter(
    image: Path, platform: Platform, tmp_path: Path
) -> None:
    platform.change(connections=[connection("linear")])
    async with running(image, full(tmp_path, platform)) as box:
        await soon(platform.reports)
        native, cli = box.config()["mcp"]["servers"], json.loads(box.text("home/.mcporter/mcporter.json"))
    url = f"{platform.url}/mcp/linear"
    assert (native["linear"]["url"], native["linear"]["transport"]) == (url, "streamable-http")
    assert native["linear"]["headers"] == {"Authorization": f"Bearer {TOKEN}"}
    headers = {"Authorization": "Bearer ${OPENCLAW_AGENT_TOKEN}"}
    assert cli == {"mcpServers": {"linear": {"baseUrl": url, "headers": headers}}, "imports": []}


@pytest.mark.parametrize("changed", [{"status": "needs_reconnect"}, {"use": "native"}], ids=str)
async def test_what_cannot_be_called_by_mcp_is_no_server(
    image: Path, platform: Platform, tmp_path: Path, changed: dict[str, str]
) -> None:
    platform.change(connections=[connection("linear", **changed)])
    async with running(image, full(tmp_path, platform)) as box:
        await soon(platform.reports)
        assert box.config()["mcp"] == {"servers": {}}


async def test_connections_come_and_go_while_the_gateway_runs(image: Path, platform: Platform, tmp_path: Path) -> None:
    async with running(image, full(tmp_path, platform)) as box:
        await soon(platform.reports)
        before, seen = box.gateway()["pid"], []
        for connected in ([connection("linear"), connection("jira")], [connection("jira", version=2)], []):
            platform.change(connections=connected)
            await soon(platform.reports)
            seen.append(sorted(box.config()["mcp"]["servers"]))
        assert seen == [["jira", "linear"], ["jira"], []]
        assert box.gateway()["pid"] == before


@pytest.mark.parametrize(("allowed", "names"), [("full", {"OPENCLAW_API_URL", "OPENCLAW_AGENT_TOKEN"}), ("off", set())])
async def test_commands_are_given_the_platforms_door_only_where_there_are_commands(
    image: Path, platform: Platform, tmp_path: Path, allowed: str, names: set[str]
) -> None:
    async with running(image, environment(tmp_path, platform.url, OPENCLAW_EXEC=allowed)) as box:
        await soon(platform.reports)
        seen = box.gateway()["env"]
    assert {"OPENCLAW_API_URL", "OPENCLAW_AGENT_TOKEN"} & set(seen) == names
    assert seen["PATH"].split(os.pathsep)[:2] == [str(image / "bin"), str(image / "commands")]


async def test_an_agent_with_commands_is_told_how_to_look_up_its_connections(
    image: Path, platform: Platform, tmp_path: Path
) -> None:
    platform.change(connections=[connection("linear")])
    async with running(image, full(tmp_path, platform)) as box:
        await soon(platform.reports)
        agents = box.text("workspace/AGENTS.md")
    assert '"$OPENCLAW_API_URL/internal/agent/connections"' in agents
    assert "Use linear so." not in agents


async def test_an_agent_without_commands_is_told_its_connections(
    image: Path, platform: Platform, tmp_path: Path
) -> None:
    platform.change(connections=[connection("linear")])
    async with running(image, environment(tmp_path, platform.url)) as box:
        await soon(platform.reports)
        assert box.text("workspace/AGENTS.md").endswith("### Conexões\n\n- linear: Use linear so.\n")
        platform.change(connections=[])
        await soon(platform.reports)
        assert "Conexões" not in box.text("workspace/AGENTS.md")


@pytest.mark.parametrize(
    "changed", [{"provider": "../x"}, {"use": "magic"}, {"status": "odd"}, {"version": 0}], ids=str
)
async def test_a_connection_that_is_not_as_agreed_is_not_applied(
    image: Path, platform: Platform, tmp_path: Path, changed: dict[str, Any]
) -> None:
    platform.change(connections=[connection("linear") | changed])
    async with running(image, full(tmp_path, platform)) as box:
        assert (await box.says("box.profile_not_fetched"))["reason"] == "profile field connections is not as agreed"


async def with_connection(api_url: str, *arguments: str) -> tuple[int, str, str]:
    path = f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"
    child = await asyncio.create_subprocess_exec(
        str(COMMAND), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": path, "OPENCLAW_API_URL": api_url, "OPENCLAW_AGENT_TOKEN": TOKEN},
    )  # fmt: skip
    async with asyncio.timeout(WITHIN):
        out, err = await child.communicate()
    return child.returncode or 0, out.decode(), err.decode()


async def test_a_command_gets_a_fresh_credential_and_its_own_arguments(platform: Platform) -> None:
    platform.credential = CREDENTIAL
    code, out, _ = await with_connection(platform.url, "github", "node", "-e", PRINT, "--", "a b", "$HOME")
    assert (code, json.loads(out)) == (0, ["gho_of_this_hour", ["a b", "$HOME"]])


async def test_the_commands_exit_code_is_kept(platform: Platform) -> None:
    platform.credential = CREDENTIAL
    assert (await with_connection(platform.url, "github", "sh", "-c", "exit 7"))[0] == 7
    assert (await with_connection(platform.url, "github", "sh", "-c", "kill -9 $$"))[0] == 137


@pytest.mark.parametrize(
    ("credential", "arguments", "code", "said"),
    [
        (None, ("github", "true"), 69, "the platform gives no credential for github (HTTP 404)"),
        ({"variable": "PATH=/x", "value": "v"}, ("github", "true"), 69, "the platform's answer is not as agreed"),
        (CREDENTIAL, ("github", "no-such-command"), 127, "no-such-command did not start (ENOENT)"),
        (CREDENTIAL, ("github",), 64, "usage: with-connection PROVIDER COMMAND [ARGUMENT...]"),
        (CREDENTIAL, ("../admin", "true"), 64, "usage: with-connection PROVIDER COMMAND [ARGUMENT...]"),
    ],
)
async def test_what_goes_wrong_is_said_in_one_line_without_the_credential(
    platform: Platform, credential: dict[str, str] | None, arguments: tuple[str, ...], code: int, said: str
) -> None:
    platform.credential = credential
    assert await with_connection(platform.url, *arguments) == (code, "", f"with-connection: {said}\n")


async def test_a_platform_that_is_away_is_named() -> None:
    code, _, err = await with_connection(f"http://127.0.0.1:{free_port()}", "github", "true")
    assert (code, err) == (69, "with-connection: the platform is away (ECONNREFUSED)\n")
