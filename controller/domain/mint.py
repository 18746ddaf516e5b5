"""A box without a purchase: for ops and for black-box tests, on a complimentary subscription."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.crypto import Sealer
from controller.domain import boxes, drafts, lifecycle, vault
from controller.domain.customers import Customer
from controller.domain.drafts import Draft, Email, Locale, Name, Niche, TelegramUser
from controller.domain.lifecycle import Mint, Why
from controller.domain.plans import PlanName
from controller.domain.subscriptions import COMPLIMENTARY, COMPLIMENTARY_PERIOD, Subscription


class Order(BaseModel):
    """What ops say of the box; without a bot token it has no Telegram channel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    email: Email = "ops@openclaw.cloud"
    plan: PlanName = PlanName.PRO
    niche: Niche = "general"
    agent_name: Name = "Claw"
    locale: Locale = "en"
    telegram_users: Annotated[list[TelegramUser], Field(max_length=50)] = []
    bot_token: str | None = Field(default=None, repr=False)


class Minted(BaseModel):
    """The new box and its tokens, in plain this once."""

    customer_id: str
    box_id: str
    proxy_token: str
    agent_token: str


async def create(session: AsyncSession, mint: Mint, order: Order, why: Why, *, niches: frozenset[str]) -> Minted:
    """A customer, a subscription that never asks for money, a box and the job to commit it.

    Raises what a draft with the same answers would: an order that no chart can render makes nobody.
    """
    users = drafts.checked_users(order.niche, order.plan, order.telegram_users, niches=niches)
    customer = Customer(email=order.email, locale=order.locale)
    draft = Draft(currency="usd", telegram_users=users, **order.model_dump(exclude={"bot_token", "telegram_users"}))
    session.add_all([customer, draft])
    await session.flush()
    if order.bot_token is not None:
        await vault.put(session, mint.sealer, draft.id, vault.TELEGRAM, drafts.bot_token(order.bot_token))
    start = clock.now()
    row = Subscription(
        kind=COMPLIMENTARY,
        customer_id=customer.id,
        draft_id=draft.id,
        status="active",
        plan=order.plan.value,
        period_start=start,
        period_end=start + COMPLIMENTARY_PERIOD,
    )
    session.add(row)
    await session.flush()
    job = await lifecycle.provision(session, mint, row, draft, why)
    box = await boxes.get(session, job.box_id)
    opened = {
        name: await vault.get(session, mint.sealer, box.id, name, box.secret_versions[name], reader=why.actor)
        for name in (vault.PROXY, vault.AGENT)
    }
    return Minted(
        customer_id=customer.id,
        box_id=box.id,
        proxy_token=opened[vault.PROXY],
        agent_token=opened[vault.AGENT],
    )


async def announce(session: AsyncSession, sealer: Sealer, box_id: str, order: Order) -> None:
    """What a box's file must not say waits, with the bot token sealed, until its file is merged and adopted.

    Raises LimitReached for more users than the plan has, Invalid for a bot token that cannot be one.
    """
    users = drafts.checked_users(order.niche, order.plan, order.telegram_users, niches=frozenset({order.niche}))
    answers = order.model_dump(exclude={"bot_token", "telegram_users"})
    session.add(Draft(id=box_id, currency="usd", telegram_users=users, **answers))
    await session.flush()
    if order.bot_token is not None:
        await vault.put(session, sealer, box_id, vault.TELEGRAM, drafts.bot_token(order.bot_token))
