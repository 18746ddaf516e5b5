"""mcporter as the image has it: it finds the box's file by itself, and calls a server over HTTP and one over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.sandbox import images
from tests.charts import platform as platforms
from tests.charts import world as worlds
from tests.charts.boxes import CHART
from tests.charts.platform import TOKEN, connection, environment, running, soon
from tests.charts.world import World

pytestmark = pytest.mark.gateway

REPO = CHART.parents[1]
MCPORTER_SECONDS = 120


class Shell:
    """What a command of a box has: its home, its path and the platform's door."""

    def __init__(self, image: Path, data: Path, api_url: str) -> None:
        self.home = data / "home"
        path = os.pathsep.join([str(image / "bin"), str(image / "commands"), os.environ["PATH"]])
        door = {"OPENCLAW_API_URL": api_url, "OPENCLAW_AGENT_TOKEN": TOKEN}
        self.env = {"PATH": path, "HOME": str(self.home), **door}

    async def mcporter(self, *arguments: str) -> str:
        child = await asyncio.create_subprocess_exec(
            "mcporter", *arguments, env=self.env, cwd=self.home,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(MCPORTER_SECONDS):
            out, err = await child.communicate()
        assert child.returncode == 0, err.decode()
        return out.decode()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with worlds.around() as served:
        yield served


@pytest.fixture
async def shell(world: World, tmp_path: Path) -> Shell:
    """In a box that is connected to Linear; what the gateway would do, a stand-in does."""
    image = await images.build(CHART, images.default_store())
    world.change(connections=[connection("linear")])
    env = environment(tmp_path, world.url, OPENCLAW_EXEC="full")
    async with running(platforms.make_image(tmp_path / "image"), env) as box:
        await soon(world.reports)
        return Shell(image, box.data, world.url)


async def test_it_lists_the_tools_of_what_is_connected(shell: Shell, world: World) -> None:
    listed: dict[str, Any] = json.loads(await shell.mcporter("list", "--json"))
    (linear,) = listed["servers"]
    assert (linear["name"], linear["status"]) == ("linear", "ok")
    assert [tool["name"] for tool in linear["tools"]] == ["lookup"]
    assert ("/mcp/linear", TOKEN) in world.asked


async def test_a_server_over_http_and_one_over_stdio_are_called(shell: Shell) -> None:
    file = shell.home / ".mcporter/mcporter.json"
    config = json.loads(file.read_text())
    local = {"command": sys.executable, "args": ["-m", "tests.charts.mcp_notes"], "cwd": str(REPO)}
    file.write_text(json.dumps(config | {"mcpServers": {**config["mcpServers"], "local": local}}))
    assert "note:cba" in await shell.mcporter("call", "linear.lookup", "word=abc")
    assert "note:zyx" in await shell.mcporter("call", "local.lookup", "word=xyz")
