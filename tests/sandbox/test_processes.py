"""Child processes and the ports that they are given."""

from __future__ import annotations

import socket

from controller.sandbox import processes
from controller.sandbox.processes import DEFAULT_EPHEMERAL_FLOOR, EPHEMERAL_RANGE, LOWEST_PORT, free_port


def test_a_free_port_is_one_that_the_kernel_gives_to_no_outgoing_connection() -> None:
    floor = int(EPHEMERAL_RANGE.read_text().split()[0]) if EPHEMERAL_RANGE.exists() else DEFAULT_EPHEMERAL_FLOOR
    if floor > LOWEST_PORT:
        assert all(LOWEST_PORT <= free_port() < floor for _ in range(100))


async def test_a_free_port_can_be_listened_on() -> None:
    port = free_port()
    assert not await processes.listening(port)
    with socket.create_server(("127.0.0.1", port)):
        assert await processes.listening(port)
