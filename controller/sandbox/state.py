"""What one sandbox keeps between starts: its keys and ports, in one file that only its owner reads."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from pydantic import BaseModel, Field

from controller.core import crypto
from controller.sandbox.processes import free_port

PORTS = ("postgres", "queue", "cache", "stripe", "telegram", "llm", "api", "secrets", "proxy", "cluster")


def _token() -> str:
    return secrets.token_urlsafe(32)


class State(BaseModel):
    """Keys made once, and ports kept so that addresses survive a restart."""

    sealing_key: str = Field(default_factory=crypto.new_key)
    token_pepper: str = Field(default_factory=_token)
    admin_token: str = Field(default_factory=_token)
    secrets_token: str = Field(default_factory=_token)
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
    for name in PORTS:
        state.ports.setdefault(name, free_port())
    file.touch(mode=0o600)
    file.write_text(json.dumps(state.model_dump(), indent=1))
    return state
