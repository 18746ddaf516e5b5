"""What somebody told us before paying: a draft, from which a paid subscription makes a box."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock, ids
from controller.core.crypto import Sealer
from controller.core.db import Base
from controller.core.errors import Invalid, LimitReached
from controller.domain import plans, vault
from controller.domain.plans import Currency, PlanName

_BOT_TOKEN = re.compile(r"^\d{6,12}:[A-Za-z0-9_-]{30,50}$")
# \x00: a control character is no white space to a regular expression, and Postgres stores no NUL
_EMAIL = r"^[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]+\.[^@\s.\x00-\x1f\x7f]{2,}$"
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Email = Annotated[str, StringConstraints(max_length=254, pattern=_EMAIL)]
TelegramUser = Annotated[int, Field(ge=1, lt=2**52)]


class Answers(BaseModel):
    """The answers of the onboarding, whichever channel asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    niche: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    agent_name: Name
    locale: Literal["pt-BR", "en"] = "pt-BR"
    bot_token: str = Field(repr=False)
    telegram_users: Annotated[list[TelegramUser], Field(min_length=1, max_length=50)]
    plan: PlanName
    currency: Currency = Currency.BRL
    email: Email

    @field_validator("bot_token")
    @classmethod
    def _shaped_like_a_token(cls, value: str) -> str:
        try:
            return bot_token(value)
        except Invalid as exc:
            raise ValueError("not a Telegram bot token") from exc

    @field_validator("agent_name")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("control characters are not allowed")
        return value


class Draft(Base):
    """The answers without the bot token, which is sealed in the vault under the draft's id."""

    __tablename__ = "drafts"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.new)
    niche: Mapped[str]
    agent_name: Mapped[str]
    locale: Mapped[str]
    telegram_users: Mapped[list[int]]
    plan: Mapped[str]
    currency: Mapped[str]
    email: Mapped[str]
    checkout_id: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


def bot_token(value: str) -> str:
    """``value`` trimmed, if it has the form of a Telegram bot token.

    Raises Invalid otherwise; whether Telegram accepts it shows when the bot connects.
    """
    if not _BOT_TOKEN.fullmatch(value.strip()):
        raise Invalid("bot_token_malformed")
    return value.strip()


async def create(session: AsyncSession, sealer: Sealer, answers: Answers, *, niches: frozenset[str]) -> Draft:
    """Store a new draft and seal its bot token.

    Raises Invalid for a niche that we do not offer, LimitReached for more Telegram users than the plan has.
    """
    if answers.niche not in niches:
        raise Invalid("niche_unknown", niche=answers.niche, known=sorted(niches))
    allowed = plans.get(answers.plan).telegram_users
    users = list(dict.fromkeys(answers.telegram_users))
    if len(users) > allowed:
        raise LimitReached("telegram_users_over_plan", allowed=allowed, asked=len(users))
    draft = Draft(telegram_users=users, **answers.model_dump(exclude={"bot_token", "telegram_users"}))
    session.add(draft)
    await session.flush()
    await vault.put(session, sealer, draft.id, vault.TELEGRAM, answers.bot_token)
    return draft
