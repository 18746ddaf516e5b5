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
