"""Each vendor stand-in as the process that the sandbox starts."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from controller.sandbox.processes import free_port
from tests.sandbox.stripe.serving import eventually

OPTIONS = {"stripe": [], "telegram": [], "llm": ["--key", "k"], "mail": ["--smtp-port", "0"]}

POLL_SECONDS = 50
STOPPED = {0, -signal.SIGTERM}


def is_up(base: str) -> bool:
    try:
        return httpx.get(f"{base}/_control/ready", timeout=30).is_success
    except httpx.TransportError:
        return False


@contextmanager
def process(vendor: str, data: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The vendor's process, ready, and its base URL."""
    port = free_port()
    command = [sys.executable, "-m", f"controller.sandbox.{vendor}", "--port", str(port), "--data", str(data)]
    running = subprocess.Popen([*command, *OPTIONS[vendor]], stderr=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: is_up(base), seconds=60)
        yield running, base
    finally:
        running.kill()
        running.wait(timeout=10)


def stop(running: subprocess.Popen[bytes]) -> int:
    """The exit code after SIGTERM; fails when it is held up until an open poll is nearly over."""
    running.terminate()
    return running.wait(timeout=POLL_SECONDS / 2)


@pytest.mark.parametrize("vendor", sorted(OPTIONS))
def test_a_stand_in_answers_at_its_port_and_stops_when_asked(vendor: str, tmp_path: Path) -> None:
    with process(vendor, tmp_path) as (running, _):
        assert stop(running) in STOPPED


def test_an_open_long_poll_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    with process("telegram", tmp_path) as (running, base):
        made = httpx.post(f"{base}/_control/bots", json={"username": "slow_bot", "name": "S"}).json()
        with socket.create_connection(("127.0.0.1", httpx.URL(base).port or 0)) as poll:
            poll.sendall(
                f"GET /bot{made['token']}/getUpdates?timeout={POLL_SECONDS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            eventually(lambda: httpx.get(f"{base}/_control/bots/{made['id']}").json()["pollers_now"] == 1)
            assert stop(running) in STOPPED


def test_a_killed_process_keeps_what_it_answered_and_counts_on(tmp_path: Path) -> None:
    written: list[dict[str, int]] = []
    for text in ("one", "two"):  # the block's end kills the process
        with process("telegram", tmp_path) as (_, base):
            if not written:
                made = httpx.post(f"{base}/_control/bots", json={"username": "kept_bot", "name": "K"}).json()
            body = {"user_id": 7001, "text": text}
            written.append(httpx.post(f"{base}/_control/bots/{made['id']}/messages", json=body).json())
            updates = httpx.get(f"{base}/bot{made['token']}/getUpdates").json()["result"]
    assert [update["message"]["text"] for update in updates] == ["one", "two"]
    assert written[1] == {name: number + 1 for name, number in written[0].items()}
