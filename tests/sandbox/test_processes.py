"""Child processes and the ports that they are given."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest

from controller.sandbox import processes
from controller.sandbox.processes import (
    CLAIMS_KEPT,
    DEFAULT_EPHEMERAL_FLOOR,
    EPHEMERAL_RANGE,
    LOWEST_PORT,
    StartError,
    claim_port,
    free_port,
)


async def test_when_one_start_fails_none_of_the_others_goes_on_behind_the_stop() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise StartError("process_not_ready", process="one", log="")

    async def go_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    with pytest.raises(StartError):
        await processes.together([go_on(), fail(), go_on()])
    assert ended == ["cancelled", "cancelled"]


def test_a_free_port_is_one_that_the_kernel_gives_to_no_outgoing_connection() -> None:
    floor = int(EPHEMERAL_RANGE.read_text().split()[0]) if EPHEMERAL_RANGE.exists() else DEFAULT_EPHEMERAL_FLOOR
    if floor > LOWEST_PORT:
        assert all(LOWEST_PORT <= free_port() < floor for _ in range(100))


async def test_a_free_port_can_be_listened_on() -> None:
    port = free_port()
    assert not await processes.listening(port)
    with socket.create_server(("127.0.0.1", port)):
        assert await processes.listening(port)


def test_no_port_is_given_twice_while_its_receiver_may_still_be_starting() -> None:
    given = [free_port() for _ in range(CLAIMS_KEPT)]
    assert len(set(given)) == len(given)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="claims between processes need Linux's socket names")
def test_two_sandboxes_never_get_the_same_port() -> None:
    port = free_port()
    asked = f"from controller.sandbox.processes import claim_port; print(claim_port({port}))"
    other = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert (other.stdout.strip(), claim_port(port)) == ("False", False)
