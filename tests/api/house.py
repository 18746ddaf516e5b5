"""What tests ask of the API: requests with a credential, signed events, and boxes to ask about."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import func, select

from controller.core import ids
from controller.core.db import Base, Database
from controller.domain import boxes, lifecycle, vault
from controller.domain.lifecycle import Mint, Why
from tests import factories

ADMIN_TOKEN = "admin-token-for-tests-only-0123456789"
WEBHOOK_SECRET = "whsec_for_tests_only"
WHY = Why("stripe", "evt_1")


@dataclass(frozen=True)
class Held:
    """A box and its tokens in plain."""

    id: str
    agent: str
    proxy: str


@dataclass(frozen=True)
class House:
    """One API and what is around it."""

    app: FastAPI
    http: httpx.AsyncClient
    database: Database
    mint: Mint
    stripe_url: str

    async def box(self, **answers: Any) -> Held:
        """A paid box whose draft has ``answers``."""
        async with self.database.transaction() as session:
            draft = await factories.draft(session, self.mint, **answers)
            job = await lifecycle.converge(session, self.mint, factories.facts(draft.id), WHY)
            assert job is not None
            versions = (await boxes.get(session, job.box_id)).secret_versions
            agent, proxy = [
                await vault.get(session, self.mint.sealer, job.box_id, name, versions[name], reader="test")
                for name in (vault.AGENT, vault.PROXY)
            ]
        return Held(job.box_id, agent, proxy)

    async def released(self, box_id: str, profile: int = 1) -> None:
        """The commit that carries ``profile`` is pushed."""
        async with self.database.transaction() as session:
            (await boxes.get(session, box_id, lock=True)).live_profile = profile

    async def deliver(self, body: bytes, signature: str | None = None) -> httpx.Response:
        """Post ``body`` to the webhook as Stripe would."""
        headers = {"stripe-signature": signed(body) if signature is None else signature}
        return await self.http.post("/webhooks/stripe", content=body, headers=headers)

    async def admin(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A request of ops."""
        return await self.http.request(method, path, headers=bearer(ADMIN_TOKEN), **more)

    async def connect(self, box: Held, provider: str, verb: str = "connect") -> httpx.Response:
        """Ops do that to one of the box's connections."""
        return await self.admin("POST", f"/admin/boxes/{box.id}/connections/{provider}/{verb}")

    async def count(self, table: type[Base]) -> int:
        """How many rows ``table`` has."""
        async with self.database.transaction() as session:
            return int(await session.scalar(select(func.count()).select_from(table)) or 0)


def bearer(token: str) -> dict[str, str]:
    """The header that carries ``token``."""
    return {"authorization": f"Bearer {token}"}


def event(kind: str = "product.created", **thing: Any) -> bytes:
    """An event's raw bytes with an id of its own."""
    body = {
        "id": f"evt_{ids.new()}",
        "object": "event",
        "type": kind,
        "data": {"object": {"object": "product", **thing}},
    }
    return json.dumps(body).encode()


def mac(body: bytes, at: int, secret: str = WEBHOOK_SECRET) -> str:
    """Stripe's v1 signature of ``body`` at the time ``at``."""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def signed(body: bytes, at: float | None = None, secret: str = WEBHOOK_SECRET) -> str:
    """The signature header of ``body``, made now unless said otherwise."""
    moment = int(time.time() if at is None else at)
    return f"t={moment},v1={mac(body, moment, secret)}"


def code(answer: httpx.Response) -> str:
    """The stable code in an error's body."""
    return str(answer.json()["error"]["code"])
