"""From a signed event to an answer on Telegram through the real gateway, with every process killed on the way."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from controller.domain.plans import PlanName
from tests.journeys.conftest import POINTS, Bought

pytestmark = pytest.mark.gateway
CHANGE = timedelta(seconds=240)
SECRETS = "/api/v1/secrets"
RESOURCES = (
    SECRETS, "/api/v1/namespaces", "/api/v1/pods", "/api/v1/configmaps", "/api/v1/serviceaccounts",
    "/api/v1/persistentvolumeclaims", "/api/v1/resourcequotas", "/api/v1/limitranges", "/apis/apps/v1/deployments",
    "/apis/networking.k8s.io/v1/networkpolicies", "/apis/external-secrets.io/v1/externalsecrets",
    "/apis/argoproj.io/v1alpha1/applications", "/apis/argoproj.io/v1alpha1/applicationsets",
)  # fmt: skip


def query(bought: Bought, sql: str, *arguments: object) -> list[asyncpg.Record]:
    async def ask() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(bought.stack.at.dsn)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows
        finally:
            await connection.close()

    return bought.run.run(ask())


def git(bought: Bought, *arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=bought.stack.at.git, check=True, capture_output=True, timeout=60)
    return done.stdout.decode(errors="replace")


def processes_of_agents(bought: Bought) -> list[Path]:
    """The processes whose home is on a volume of this sandbox."""
    volumes = f"HOME={bought.stack.at.open_place}/".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if volumes in environment:
            found.append(folder)
    return found


def test_the_answer_came_back_on_telegram(bought: Bought) -> None:
    assert "A farmácia abre hoje?" in bought.reply


def test_every_process_was_killed_at_every_point_and_nothing_was_lost_or_doubled(bought: Bought) -> None:
    assert sorted(bought.hits.read_text().split()) == sorted(POINTS)
    assert len(query(bought, "SELECT id FROM boxes")) == 1
    jobs = query(bought, "SELECT id, commit_sha FROM operator_jobs WHERE verb = 'provision'")
    carried = git(bought, "log", "--format=%H", f"--grep=Job-Id: {jobs[0]['id']}", "main").split()
    assert carried == [jobs[0]["commit_sha"]]
    assert query(bought, "SELECT event_id FROM inbox WHERE done_at IS NULL") == []


def test_the_call_was_metered_exactly(bought: Bought) -> None:
    control = bought.stack.addresses()["llm"]["control_url"]
    told: dict[str, Any] = httpx.get(f"{control}/usage").json()
    rows: list[asyncpg.Record] = []
    for _ in range(300):
        rows = query(bought, "SELECT input_tokens, output_tokens, estimated FROM usage_events")
        if len(rows) == told["requests"]:
            break
        bought.run.run(asyncio.sleep(0.1))
    assert [row["estimated"] for row in rows] == [False] * told["requests"]
    assert sum(row["input_tokens"] for row in rows) == told["prompt_tokens"]
    assert sum(row["output_tokens"] for row in rows) == told["completion_tokens"]


def test_the_agents_prompt_carries_its_niche_and_name(bought: Bought) -> None:
    control = bought.stack.addresses()["llm"]["control_url"]
    prompt = json.dumps(httpx.get(f"{control}/requests").json(), ensure_ascii=False)
    assert "farmácia" in prompt
    assert "Ana" in prompt


def test_the_provider_key_reaches_no_pod(bought: Bought) -> None:
    agents = processes_of_agents(bought)
    assert agents
    for folder in agents:
        environment = (folder / "environ").read_bytes()
        assert bought.stack.state.llm_key.encode() not in environment
        assert bought.stack.state.stripe_api_key.encode() not in environment


def test_agents_do_not_run_as_root(bought: Bought) -> None:
    if os.geteuid() == 0:
        assert {folder.stat().st_uid for folder in processes_of_agents(bought)} == {10001}


def told(bought: Bought, text: str) -> list[str]:
    """Which of the secrets, and of what is personal, stand in ``text``."""
    secrets = [bought.customer.bot["token"], bought.stack.state.llm_key, "oc_agent_", "oc_proxy_", "ana@example.com"]
    return [secret for secret in secrets if secret in text]


def test_no_secret_is_in_git(bought: Bought) -> None:
    objects = git(bought, "rev-list", "--objects", "--all").split()
    assert told(bought, "".join(git(bought, "cat-file", "-p", one) for one in objects if len(one) == 40)) == []


def test_the_cluster_knows_one_secret_of_a_box_and_shows_it_nowhere_else(bought: Bought) -> None:
    api = api_server(bought)
    everything = "".join(
        httpx.get(f"{api}{resource}").raise_for_status().text for resource in RESOURCES if resource != SECRETS
    )
    assert (bought.customer.box_id in everything, told(bought, everything)) == (True, [])
    [secret] = httpx.get(f"{api}{SECRETS}").json()["items"]
    assert (secret["metadata"]["name"], list(secret["data"])) == ("agent-v1", ["token"])


def api_server(bought: Bought) -> str:
    kubeconfig = json.loads(bought.stack.at.kubeconfig.read_text())
    return str(kubeconfig["clusters"][0]["cluster"]["server"])


def test_a_stranger_is_not_answered(bought: Bought) -> None:
    control = bought.stack.addresses()["llm"]["control_url"]
    before = httpx.get(f"{control}/usage").json()["requests"]
    bought.run.run(bought.customer.say("me deixa entrar", user_id=666))
    bought.run.run(bought.customer.say("e eu?"))
    assert "e eu?" in bought.run.run(bought.customer.hear(CHANGE))
    assert httpx.get(f"{control}/usage").json()["requests"] == before + 1


def test_its_life_goes_through_git_to_the_end(bought: Bought) -> None:
    customer, run = bought.customer, bought.run
    run.run(customer.change_plan(PlanName.PRO))
    run.run(customer.milestone("done", CHANGE, verb="resize"))
    invoice = run.run(customer.miss_payments())
    run.run(customer.milestone("done", CHANGE, verb="suspend"))
    assert processes_of_agents(bought) == []
    run.run(customer.settle(invoice))
    run.run(customer.milestone("done", CHANGE, verb="reactivate"))
    run.run(customer.cancel())
    run.run(customer.milestone("done", CHANGE, verb="destroy"))
    assert processes_of_agents(bought) == []
    verbs = git(bought, "log", "--reverse", "--format=%(trailers:key=Action,valueonly)", "main").split()
    assert [verb for verb in verbs if verb != "update_connections"] == [
        "provision", "resize", "suspend", "reactivate", "destroy",
    ]  # fmt: skip
    polls = httpx.get(f"{bought.stack.addresses()['telegram']['control_url']}/bots/{customer.bot['id']}").json()
    assert polls["max_concurrent_pollers"] == 1
