"""The real gateway uses what it is connected to: by command, by MCP, by mcporter, and again after a restart."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.sandbox import images
from tests.charts import world as worlds
from tests.charts.boxes import CHART
from tests.charts.platform import BOT_TOKEN, PROFILE, STANDBY, TOKEN, connection
from tests.charts.world import TURN_SECONDS, Gateway, Step, World, call, tell

pytestmark = pytest.mark.gateway

CURL = 'curl -sS -H "Authorization: Bearer $OPENCLAW_AGENT_TOKEN" "$OPENCLAW_API_URL/internal/agent/connections"'
MEMORY = "The supplier of gauze is Almeida."


@dataclass(frozen=True)
class Box:
    """A booted box, and the loop that its world runs on."""

    gateway: Gateway
    report: dict[str, Any]
    """The gateway's report once its customer had claimed it."""

    stood_by: list[int]
    """Its processes before that."""

    claimed: dict[str, bytes]
    """Its volume's files right after, by their path."""

    world: World
    run: asyncio.Runner

    def turn(self, *script: Step, text: str = "please") -> str:
        return self.run.run(self.world.turn(*script, text=text))

    def connect(self, *providers: str) -> None:
        """These MCP providers are connected and no others, and the gateway has taken that up."""
        before = [one["provider"] for one in self.world.profile["connections"]]
        reloads = self.gateway.reloads()
        self.world.change(connections=[connection(provider) for provider in providers])
        self.run.run(self.gateway.reported())
        if sorted(before) != sorted(providers):
            self.run.run(self.gateway.reloaded(reloads))


def volume(data: Path) -> dict[str, bytes]:
    files = [file for file in data.rglob("*") if file.is_file()]
    return {str(file.relative_to(data)): file.read_bytes() for file in files}


async def forgotten(data: Path) -> None:
    """Return once the gateway's copy of the last good configuration, which follows the reload, is the customer's."""
    copy, before = data / "state/openclaw.json.last-good", STANDBY["proxy_token"].encode()
    async with asyncio.timeout(TURN_SECONDS):
        while copy.exists() and before in copy.read_bytes():
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """One box for the whole module, since a boot costs 10-14 CPU seconds; it stood by until its customer claimed it.

    So all that is shown here holds for a claimed box, and after a restart for any.
    """
    folder = Path(tempfile.mkdtemp(prefix="openclaw-tools-"))
    folder.chmod(0o755)
    with asyncio.Runner() as run:
        image = run.run(images.build(CHART, images.default_store()))
        around = worlds.around()
        world = run.run(around.__aenter__())
        gateway = Gateway(image, folder, world)
        try:
            customers = {name: world.profile[name] for name in STANDBY}
            world.change(version=PROFILE["version"] - 1, **STANDBY)
            run.run(gateway.boot())
            pids = gateway.pids()
            world.change(**customers)
            report = run.run(gateway.reported())
            run.run(gateway.reloaded(0))
            run.run(forgotten(folder / "data"))
            yield Box(gateway, report, pids, volume(folder / "data"), world, run)
        finally:
            run.run(gateway.stop())
            run.run(around.__aexit__(None, None, None))
            shutil.rmtree(folder)


def test_the_gateway_of_the_image_boots_from_a_profile_and_reports_it(box: Box) -> None:
    locked = json.loads((CHART / "image/package-lock.json").read_text())["packages"]["node_modules/openclaw"]["version"]
    assert box.report == {"profile": PROFILE["version"], "gateway": locked}


def test_a_standby_is_claimed_without_a_restart_and_is_its_customers_alone(box: Box) -> None:
    assert box.gateway.pids()[:2] == box.stood_by[:2]
    kept = {name for name in box.claimed if name.startswith("workspace/")}
    assert kept == {"workspace/SOUL.md", "workspace/IDENTITY.md", "workspace/AGENTS.md"}
    traces = [STANDBY["proxy_token"].encode(), STANDBY["agent_name"].encode()]
    assert [name for name, content in box.claimed.items() if any(trace in content for trace in traces)] == []
    box.turn()
    assert "Você é Ana" in str(box.world.prompts[-1]["messages"][0]["content"])


def test_the_agent_looks_up_its_connections_with_a_command(box: Box) -> None:
    box.connect("jira")
    answer = box.turn(call("exec", command=CURL), tell)
    assert "Use jira so." in answer
    assert ("/internal/agent/connections", TOKEN) in box.world.asked


def test_its_prompt_says_how_to_look_them_up(box: Box) -> None:
    box.turn()
    assert CURL in str(box.world.prompts[-1]["messages"][0]["content"])


def test_commands_see_the_platforms_door_and_none_of_the_other_secrets(box: Box) -> None:
    names = box.turn(call("exec", command="env | cut -d= -f1 | sort | tr '\\n' ' '"), tell)
    assert "OPENCLAW_AGENT_TOKEN OPENCLAW_API_URL" in names
    # Reversed, so that nothing between the command and us can mask a secret in passing.
    seen = box.turn(call("exec", command="env | cut -d= -f2- | rev"), tell)
    assert TOKEN[::-1] in seen
    assert not [secret for secret in (BOT_TOKEN, PROFILE["proxy_token"]) if secret[::-1] in seen]


def test_a_connected_mcp_provider_is_called_without_a_restart(box: Box) -> None:
    before = box.gateway.pids()
    box.connect("linear")
    answer = box.turn(call("tool_call", id="linear__lookup", args={"word": "abc"}), tell)
    assert "note:cba" in answer
    assert ("/mcp/linear", TOKEN) in box.world.asked
    assert box.gateway.pids()[:2] == before[:2]


def test_mcporter_lists_and_calls_the_same_server_from_a_command(box: Box) -> None:
    box.connect("linear")
    listed = box.turn(call("exec", command="mcporter list --json", yieldMs=60_000), tell)
    assert '"lookup"' in listed
    called = box.turn(call("exec", command="mcporter call linear.lookup word=xyz", yieldMs=60_000), tell)
    assert "note:zyx" in called


def test_what_is_disconnected_cannot_be_called_any_more(box: Box) -> None:
    box.connect("linear")
    box.connect()
    answer = box.turn(call("tool_call", id="linear__lookup", args={"word": "abc"}), tell)
    assert "note:cba" not in answer


def test_files_memory_and_the_conversation_survive_a_restart(box: Box) -> None:
    box.turn(call("exec", command=f"echo '{MEMORY}' >> MEMORY.md; mkdir -p lists; echo 7 > lists/orders.csv"), tell)
    box.turn(text="remember the word heliotrope")
    assert box.run.run(box.gateway.stop()) == 0
    box.run.run(box.gateway.boot())
    assert "7" in box.turn(call("exec", command="cat lists/orders.csv"), tell)
    prompt = str(box.world.prompts[-1]["messages"])
    assert MEMORY in prompt
    assert "remember the word heliotrope" in prompt
