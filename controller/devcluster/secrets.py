"""The cluster's secrets: made once, where they are missing, and kept in the cluster alone."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from controller.core import crypto, ids
from controller.devcluster.tools import Tools

Makers = Mapping[str, Callable[[dict[str, str]], str]]
"""By key: how its value is made, given those before it."""


def keep(
    tools: Tools, namespace: str, name: str, makers: Makers, labels: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The values of the Secret ``name``: what it held stays, what it lacked is made and added."""
    found = _read(tools, namespace, name)
    values = dict(found)
    for key, make in makers.items():
        if key not in values:
            values[key] = make(values)
    if values != found:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        about = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
        tools.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": data}])
    return values


def platform() -> Makers:
    """What our processes keep secret, but for what Stripe gives (``stripe_webhook``)."""
    return {
        "POSTGRES_PASSWORD": lambda _: secrets.token_hex(16),
        "POSTGRES_DSN": lambda has: f"postgresql://openclaw:{has['POSTGRES_PASSWORD']}@postgres:5432/openclaw",
        "QUEUE_REDIS_URL": lambda _: "redis://redis:6379/0",
        "SEALING_KEY": lambda _: crypto.new_key(),
        "TOKEN_PEPPER": lambda _: ids.secret(),
        "ADMIN_TOKEN": lambda _: ids.secret(),
        "SECRETS_TOKEN": lambda _: ids.secret(),
        "STRIPE_API_KEY": lambda _: f"sk_test_{secrets.token_hex(16)}",
        "LLM_UPSTREAM_KEY": lambda _: f"sk-provider-{secrets.token_hex(16)}",
        "SMTP_URL": lambda _: "smtp://mail:1025",
        "GIT_SSH_KEY": lambda _: private_key(),
    }


def stripe_webhook(open_endpoint: Callable[[], str]) -> Makers:
    """The secret of our endpoint, which Stripe tells only whoever opens it."""
    return {"STRIPE_WEBHOOK_SECRET": lambda _: open_endpoint()}


def vendors(of_platform: Mapping[str, str]) -> Makers:
    """What the stand-ins have to know of ours, and the key by which the Git host is recognised."""
    return {
        "git_host_key": lambda _: private_key(),
        "git_writer_public_key": lambda _: public_key(of_platform["GIT_SSH_KEY"]),
        "llm_key": lambda _: of_platform["LLM_UPSTREAM_KEY"],
    }


def cell(of_platform: Mapping[str, str]) -> Makers:
    """The credential with which External Secrets fetches for boxes (``argocd/cell``)."""
    return {"token": lambda _: of_platform["SECRETS_TOKEN"]}


def private_key() -> str:
    """A new ed25519 key as ``ssh-keygen`` writes it."""
    made = Ed25519PrivateKey.generate()
    return made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def public_key(private: str) -> str:
    """Its public half in one line: ``ssh-ed25519 …``."""
    key = load_ssh_private_key(private.encode(), password=None)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _read(tools: Tools, namespace: str, name: str) -> dict[str, str]:
    asked = ("get", "secret", name, "--namespace", namespace, "--ignore-not-found", "--output", "json")
    text = tools.ask("kubectl", *asked)
    data = json.loads(text).get("data", {}) if text.strip() else {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}
