"""``openclaw-cloud up`` as a person runs it: started, stopped with Ctrl-C, and started again on the same data."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.sandbox import accounts
from controller.sandbox.journey import Customer
from controller.sandbox.services import PODS_STOP

START_SECONDS = 240.0
STOP_SECONDS = PODS_STOP.total_seconds() + 60


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="openclaw-up-"))
    made.chmod(0o755)
    yield made
    accounts.remove(made / "data")
    accounts.remove(made)


@contextmanager
def up(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A running ``openclaw-cloud up`` and its ready file's document."""
    ready, env = folder / "ready.json", {**os.environ, "TMPDIR": str(folder)}
    argv = [sys.executable, "-m", "controller", "up", "--data", str(folder / "data"), "--ready-file", str(ready)]
    running = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            assert running.poll() is None
            assert time.monotonic() < deadline, "not ready"
            time.sleep(0.1)
        yield running, json.loads(ready.read_text())
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(STOP_SECONDS)


def alive(pids: dict[str, int]) -> set[str]:
    """The names of the processes that still run."""
    return {name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()}


def mint(folder: Path) -> dict[str, str]:
    """What ``openclaw-cloud admin mint --json`` prints."""
    argv = [sys.executable, "-m", "controller", "admin", "mint", "--json"]
    env = {**os.environ, "TMPDIR": str(folder)}
    made: dict[str, str] = json.loads(subprocess.run(argv, env=env, check=True, capture_output=True, timeout=60).stdout)
    return made


async def order(addresses: dict[str, Any]) -> str:
    """The id of a new draft."""
    customer = Customer(addresses)
    await customer.order()
    await customer.close()
    return customer.draft_id


def log(addresses: dict[str, Any]) -> list[str]:
    command = ["git", "log", "--format=%H", "main"]
    done = subprocess.run(command, cwd=addresses["git"]["path"], check=True, capture_output=True, timeout=30)
    return done.stdout.decode().split()


def committed(addresses: dict[str, Any], commits: int) -> list[str]:
    """The history, once it has that many commits."""
    deadline = time.monotonic() + 60
    while len(found := log(addresses)) < commits:
        assert time.monotonic() < deadline, f"{len(found)} commits"
        time.sleep(0.05)
    return found


def test_it_stops_without_a_trace_and_finds_everything_where_it_was(folder: Path) -> None:
    with up(folder) as (first, before):
        draft_id, minted = asyncio.run(order(before)), mint(folder)
        history = committed(before, 2)
    assert (first.returncode, alive(before["processes"])) == (0, set())
    assert not (folder / "ready.json").exists()
    with up(folder) as (_, after):
        same = ("api_url", "proxy_url", "admin_token", "postgres_dsn", "git", "kubeconfig", "telegram")
        assert [after[name] for name in same] == [before[name] for name in same]
        admin = {"Authorization": f"Bearer {after['admin_token']}"}
        box = httpx.get(f"{after['api_url']}/admin/boxes/{minted['box_id']}", headers=admin).raise_for_status().json()
        assert box["customer_id"] == minted["customer_id"]
        assert httpx.get(f"{after['api_url']}/onboarding/drafts/{draft_id}").json()["status"] == "waiting"
        assert log(after) == history


def answer(addresses: dict[str, Any], token: str, model: str) -> dict[str, Any]:
    """The proxy's answer for ``model``, once there is one: nobody waits for the translator at the start."""
    deadline, url = time.monotonic() + START_SECONDS, f"{addresses['proxy_url']}/v1/chat/completions"
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    while True:
        told = httpx.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        if told.status_code == 200:
            return dict(told.json())
        assert time.monotonic() < deadline, told.text
        time.sleep(0.2)


def test_a_model_of_each_wire_answers_through_the_proxy(folder: Path) -> None:
    with up(folder) as (_, addresses):
        token = mint(folder)["proxy_token"]
        answers = [answer(addresses, token, model) for model in ("default", "claude", "gemini")]
        asked = httpx.get(f"{addresses['llm']['control_url']}/requests").json()["requests"]
        page = httpx.get(addresses["metrics"]["translator"]).text
    assert all(one["choices"][0]["message"]["content"] for one in answers)
    assert {one["api"] for one in asked} == {"chat", "messages", "gemini"}
    assert 'translator_requests_total{status="200"} 2.0' in page
    assert alive(addresses["processes"]) == set()


def test_ctrl_c_during_the_start_leaves_nothing_behind(folder: Path) -> None:
    argv = [sys.executable, "-m", "controller", "up", "--data", str(folder / "data")]
    started = subprocess.Popen(argv, env={**os.environ, "TMPDIR": str(folder)}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + START_SECONDS
    while not ((folder / "data").exists() and (pids := children(started.pid))):
        assert time.monotonic() < deadline, "no child"
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    assert started.wait(STOP_SECONDS) == 0
    assert alive({str(pid): pid for pid in pids}) == set()


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
