"""What our processes on the stand are told: one environment for all, and what a process does not need it ignores."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from controller.core import crypto

if TYPE_CHECKING:
    from tests.faults.stands import Stand


class Keys:
    """Every secret of the stand: none may be seen where it does not belong."""

    def __init__(self) -> None:
        self.sealing = crypto.new_key()
        self.pepper = secrets.token_urlsafe(32)
        self.admin = secrets.token_urlsafe(32)
        self.stripe = f"sk_test_{secrets.token_hex(16)}"
        self.webhook = ""


def plain() -> dict[str, str]:
    """What every process has."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "APP_ENV": "test"}


def ours(stand: Stand, niches: str) -> dict[str, str]:
    """What ours have on top: the stores by their wires, and whoever is outside."""
    dsn = stand.postgres.dsn().replace(f":{stand.postgres.port}/", f":{stand.postgres_wire.port}/")
    return plain() | {
        "POSTGRES_DSN": dsn,
        "QUEUE_REDIS_URL": f"redis://127.0.0.1:{stand.valkey_wire.port}/0",
        "SEALING_KEY": stand.keys.sealing,
        "TOKEN_PEPPER": stand.keys.pepper,
        "STRIPE_API_KEY": stand.keys.stripe,
        "STRIPE_API_URL": stand.stripe_url,
        "STRIPE_WEBHOOK_SECRET": stand.keys.webhook,
        "TELEGRAM_API_URL": stand.outside.town.base,
        "SMTP_URL": stand.outside.mailbox.url,
        "LLM_UPSTREAM_URL": f"{stand.outside.model_url}/v1",
        "LLM_UPSTREAM_KEY": stand.outside.model_key,
        "PROXY_LEASE": "PT3S",
        "PROXY_PORT": stand.proxy_url.rpartition(":")[2],
        "KUBECONFIG": str(stand.cell.kubeconfig),
        "GIT_REMOTE": str(stand.git),
        "GIT_CLONE_DIR": str(stand.folder / "writer" / "clone.git"),
        "API_PORT": stand.api_url.rpartition(":")[2],
        "WEB_URL": stand.api_url,
        "ADMIN_TOKEN": stand.keys.admin,
        "NICHES_DIR": niches,
        "FAILPOINTS": f"@{stand.folder / 'armed'}",
        "FAILPOINT_LOG": str(stand.folder / "hits"),
        "SWEEP_INTERVAL": "PT1S",
        "SWEEP_LAGGING": "PT2S",
        "ADOPT_INTERVAL": "PT1S",
        "ROLLOUT_INTERVAL": "PT1S",
    }
