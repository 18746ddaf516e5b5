"""What one sandbox keeps between starts: its keys and ports, in one file that only its owner reads."""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, Field

from controller.core import crypto
from controller.core.errors import Permanent
from controller.sandbox.processes import claim_port, free_port, listening

MEASURED = ("worker", "writer", "notices", "sweeper", "watcher", "meter")
"""Our processes without a web server of their own: each shows its metrics on a port."""

PORTS = (
    "postgres", "queue", "cache", "stripe", "telegram", "llm", "mail", "smtp",
    "api", "secrets", "proxy", "translator", "cluster",
    *(f"metrics-{name}" for name in MEASURED),
)  # fmt: skip


class DataInUse(Permanent):
    """Raised when another sandbox runs on the same data folder."""


class PortTaken(Permanent):
    """Raised when somebody else listens on a port that this sandbox kept from its last start."""


def _token() -> str:
    return secrets.token_urlsafe(32)


class State(BaseModel):
    """Keys made once, and ports kept so that addresses survive a restart."""

    sealing_key: str = Field(default_factory=crypto.new_key)
    token_pepper: str = Field(default_factory=_token)
    admin_token: str = Field(default_factory=_token)
    secrets_token: str = Field(default_factory=_token)
    translator_token: str = Field(default_factory=_token)
    stripe_api_key: str = Field(default_factory=lambda: f"sk_test_{secrets.token_hex(16)}")
    llm_key: str = Field(default_factory=lambda: f"sk-provider-{secrets.token_hex(16)}")
    ports: dict[str, int] = Field(default_factory=dict)

    def url(self, name: str) -> str:
        """The loopback address of the service ``name``."""
        return f"http://127.0.0.1:{self.ports[name]}"


def load(data: Path) -> State:
    """The state in ``data``, made on the first start."""
    file = data / "state.json"
    state = State.model_validate_json(file.read_text()) if file.exists() else State()
    for port in state.ports.values():
        claim_port(port)
    for name in PORTS:
        state.ports.setdefault(name, free_port())
    file.touch(mode=0o600)
    file.write_text(json.dumps(state.model_dump(), indent=1))
    return state


@contextlib.contextmanager
def held(data: Path) -> Iterator[None]:
    """The folder is this process's alone for the block; the kernel lets go of it if we are killed.

    Raises DataInUse.
    """
    with (data / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise DataInUse("data_in_use", data=str(data)) from exc
        yield


async def check_ports(state: State) -> None:
    """Return if nobody listens on our ports yet.

    Raises PortTaken, which names the service and the port.
    """
    for name, port in state.ports.items():
        if await listening(port):
            raise PortTaken("port_taken", service=name, port=port)
