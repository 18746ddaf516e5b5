"""The outside world of a developer's cluster (``charts/vendors``), and the secrets that it shares with the platform."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from controller.clients.stripe import Stripe, StripeSettings
from controller.devcluster import charts, secrets
from controller.devcluster.groundwork import EXTERNAL_SECRETS, PATIENCE, PLATFORM
from controller.devcluster.images import Images
from controller.devcluster.tools import Tools
from controller.domain.plans import PLANS

WEBHOOK = "http://api.openclaw-cloud:8000/webhooks/stripe"
FOR_STORES = {"external-secrets.io/type": "webhook"}
"""Without this label External Secrets gives a store no Secret."""


@dataclass(frozen=True)
class Vendors:
    """They run, and every secret of the platform is in the cluster."""

    writer_key: str
    host_key: str
    charts_moved: bool


def bring(tools: Tools, root: Path, pushed: Images, stripe: str) -> Vendors:
    """The vendors run with what this tree publishes; Stripe, at ``stripe``, has our prices and calls our endpoint."""
    ours = secrets.keep(tools, PLATFORM, "platform", secrets.platform())
    theirs = secrets.keep(tools, PLATFORM, "vendors", secrets.vendors(ours))
    secrets.keep(tools, EXTERNAL_SECRETS, "cell-reader", secrets.cell(ours), FOR_STORES)
    released = charts.publish(tools, root, PLATFORM)
    values = {
        "images": {"vendors": pushed.vendors, "git": pushed.soft_serve, "mail": pushed.mailpit},
        "charts_source": released.source,
    }
    tools.apply_text(charts.render(tools, "vendors", root / "charts/vendors", PLATFORM, values))
    which = ("deployment", "--selector", "openclaw.cloud/vendor")
    tools.run("kubectl", "rollout", "status", *which, "--namespace", PLATFORM, PATIENCE)
    made = secrets.stripe_webhook(lambda: asyncio.run(open_shop(stripe, ours["STRIPE_API_KEY"])))
    secrets.keep(tools, PLATFORM, "platform", made)
    return Vendors(ours["GIT_SSH_KEY"], theirs["git_host_key"], released.is_new)


async def open_shop(stripe: str, key: str) -> str:
    """Every plan has its prices, and our endpoint is the only one; its secret."""
    settings = StripeSettings(stripe_api_key=SecretStr(key), stripe_api_url=stripe)
    client = Stripe(settings)
    await client.ensure_prices(PLANS)
    return await client.open_endpoint(WEBHOOK)
