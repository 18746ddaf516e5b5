"""One small maker per noun, with sensible values that a test overrides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import crypto, ids
from controller.core.crypto import Sealer
from controller.domain import drafts
from controller.domain.boxes import BoxSettings
from controller.domain.drafts import Answers, Draft
from controller.domain.lifecycle import Mint
from controller.domain.plans import Currency, PlanName, price_key
from controller.domain.subscriptions import Facts

PEPPER = "pepper-for-tests-only-0123456789abcdef"
BOT_TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
UNKNOWN_ID = "0" * 26
"""An id that nothing has; a test whose name has it is called the same in every process."""

NICHES = frozenset({"general", "pharmacy"})


def mint() -> Mint:
    return Mint(sealer=Sealer(crypto.new_key()), pepper=PEPPER, settings=BoxSettings())


def answers(**changed: Any) -> Answers:
    made: dict[str, Any] = {
        "niche": "pharmacy", "agent_name": "Ana", "locale": "pt-BR", "bot_token": BOT_TOKEN,
        "telegram_users": [7001], "plan": "pro", "currency": "brl", "email": "ana@example.com",
    }  # fmt: skip
    return Answers.model_validate({**made, **changed})


async def draft(session: AsyncSession, made: Mint, **changed: Any) -> Draft:
    return await drafts.create(session, made.sealer, answers(**changed), niches=NICHES)


def facts(draft_id: str | None, plan: PlanName = PlanName.PRO, **changed: Any) -> Facts:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    made = Facts(
        stripe_id=f"sub_{ids.new()}", stripe_customer_id=f"cus_{ids.new()}", email="ana@example.com",
        status="active", price_key=price_key(plan, Currency.BRL), paid=True, attempts=0, period_start=now,
        period_end=now + timedelta(days=30), cancel_at_period_end=False, draft_id=draft_id,
    )  # fmt: skip
    return replace(made, **changed)
