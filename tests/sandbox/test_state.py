"""What a sandbox keeps between starts."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from controller.sandbox import state
from controller.sandbox.state import DataInUse, PortTaken


def test_keys_and_ports_are_found_again(tmp_path: Path) -> None:
    first = state.load(tmp_path)
    assert state.load(tmp_path) == first
    assert len(set(first.ports.values())) == len(first.ports)


def test_the_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    state.load(tmp_path)
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


def test_two_sandboxes_never_share_a_folder(tmp_path: Path) -> None:
    with state.held(tmp_path), pytest.raises(DataInUse), state.held(tmp_path):
        pass
    with state.held(tmp_path):
        pass


async def test_a_port_that_somebody_took_meanwhile_is_named(tmp_path: Path) -> None:
    kept = state.load(tmp_path)
    await state.check_ports(kept)
    with socket.create_server(("127.0.0.1", kept.ports["api"])), pytest.raises(PortTaken) as refusal:
        await state.check_ports(kept)
    assert refusal.value.facts == {"service": "api", "port": kept.ports["api"]}
