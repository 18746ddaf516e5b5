"""The API in this process, two boxes behind it, and their agents' tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from api import app
from api.deps import Parts
from api.settings import ApiSettings
from controller.clients.stripe import Stripe, StripeSettings
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.domain import mint
from controller.domain.lifecycle import Why
from controller.domain.mint import Minted, Order
from tests import factories

ADMIN = "admin-token-for-tests-0123456789"


@dataclass(frozen=True)
class Api:
    """The API, asked as somebody."""

    http: httpx.AsyncClient
    a: Minted
    b: Minted
    database: Database

    async def get(self, path: str, token: str | None = ADMIN) -> httpx.Response:
        return await self.http.get(path, headers=_bearer(token))

    async def post(self, path: str, token: str | None = ADMIN) -> httpx.Response:
        return await self.http.post(path, headers=_bearer(token))

    async def connect(self, box: Minted, provider: str, verb: str = "connect") -> httpx.Response:
        return await self.post(f"/admin/boxes/{box.box_id}/connections/{provider}/{verb}")


@asynccontextmanager
async def serving(database: Database, queue: QueueSettings) -> AsyncIterator[Api]:
    """The API over a database with two minted boxes, A in Portuguese and B in English."""
    made = factories.mint()
    stripe = Stripe(
        StripeSettings(
            stripe_api_key=SecretStr("sk_test_0"), stripe_api_url="http://127.0.0.1:9",
            stripe_webhook_secret=SecretStr("whsec_0"),
        )
    )  # fmt: skip
    settings = ApiSettings(web_url="http://127.0.0.1:9", admin_token=SecretStr(ADMIN), niches_dir=Path("/"))
    parts = Parts(settings, database, stripe, Doorbell(queue), made, factories.NICHES)
    async with database.transaction() as session:
        a = await mint.create(session, made, Order(locale="pt-BR"), Why("test"))
        b = await mint.create(session, made, Order(locale="en"), Why("test"))
    transport = httpx.ASGITransport(app.create(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield Api(http, a, b, database)


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
