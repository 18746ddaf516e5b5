"""The bought agent runs commands: it looks up its connections, and is kept to itself while it does."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from controller.sandbox import confinement
from tests.journeys.conftest import Bought
from tests.journeys.test_purchase import git, processes_of_agents, query

pytestmark = pytest.mark.gateway
TURN = timedelta(seconds=240)
CURL = 'curl -sS -H "Authorization: Bearer $OPENCLAW_AGENT_TOKEN" "$OPENCLAW_API_URL/internal/agent/connections"'


def admin(bought: Bought, method: str, path: str) -> Any:
    at = bought.stack.addresses()
    headers = {"Authorization": f"Bearer {at['admin_token']}"}
    answer = httpx.request(method, f"{at['api_url']}/admin/boxes/{bought.customer.box_id}{path}", headers=headers)
    return answer.raise_for_status().json()


def run_command(bought: Bought, command: str) -> str:
    """What the agent answers after the model had it run ``command``."""
    control = bought.stack.addresses()["llm"]["control_url"]
    replies = [{"tool_calls": [{"name": "exec", "arguments": {"command": command}}]}]
    httpx.put(f"{control}/script", json={"replies": replies}).raise_for_status()
    bought.run.run(bought.customer.say("veja isso, por favor"))
    while "The tool answered: " not in (heard := bought.run.run(bought.customer.hear(TURN))):
        pass
    return heard.partition("The tool answered: ")[2]


def test_what_is_connected_reaches_the_running_agent_through_git(bought: Bought) -> None:
    pods = processes_of_agents(bought)
    before = query(bought, "SELECT ready_profile FROM boxes")[0]["ready_profile"]
    job = admin(bought, "POST", "/connections/linear/connect")["job_id"]
    bought.run.run(bought.customer.milestone("done", TURN, job=job))
    (row,) = query(bought, "SELECT ready_profile FROM boxes")
    assert row["ready_profile"] == before + 1
    assert pods
    assert set(pods) <= set(processes_of_agents(bought)), "a connection restarts nothing"
    assert "update_connections" in git(bought, "log", "--format=%(trailers:key=Action,valueonly)", "main").split()


def test_the_agent_looks_up_its_connections_and_the_turn_is_metered(bought: Bought) -> None:
    admin(bought, "POST", "/connections/linear/connect")
    before = query(bought, "SELECT count(*) FROM usage_events")[0]["count"]
    answer = run_command(bought, CURL)
    assert '"provider":"linear","name":"Linear","status":"connected"' in answer
    for _ in range(300):
        if query(bought, "SELECT count(*) FROM usage_events")[0]["count"] >= before + 2:
            return
        bought.run.run(asyncio.sleep(0.1))
    raise AssertionError("the two calls of the turn were not metered")


@pytest.mark.skipif(not confinement.available(), reason="needs root, util-linux and namespaces")
def test_its_commands_reach_neither_our_files_nor_our_stores(bought: Bought) -> None:
    ports = bought.stack.state.ports
    doors = " ".join(str(ports[name]) for name in ("api", "postgres", "queue", "secrets", "stripe"))
    knock = f"for port in {doors}; do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && echo open $port; done; "
    answer = run_command(bought, f"bash -c '{knock} ls {bought.stack.data}/logs || echo nothing there'; id -u")
    assert f"open {ports['api']}" in answer
    assert answer.count("open ") == 1
    assert "nothing there" in answer
    assert "10001" in answer
