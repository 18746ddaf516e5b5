"""What somebody told us before paying: a draft, from which a paid subscription makes a box."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator
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


def one_line(value: str) -> str:
    """``value`` if it has no control characters; ValueError, as pydantic wants it, otherwise."""
    if not value.isprintable():
        raise ValueError("control characters are not allowed")
    return value


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60), AfterValidator(one_line)]
Email = Annotated[str, StringConstraints(max_length=254, pattern=_EMAIL)]
Niche = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Locale = Literal["pt-BR", "en"]
TelegramUser = Annotated[int, Field(ge=1, lt=2**52)]


class Answers(BaseModel):
    """The answers of the onboarding, whichever channel asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    niche: Niche
    agent_name: Name
    locale: Locale = "pt-BR"
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


def checked_users(niche: str, plan: PlanName, users: Sequence[int], *, niches: frozenset[str]) -> list[int]:
    """``users``, each once, if we sell the niche and the plan has room for them.

    Raises Invalid for a niche that we do not offer, LimitReached for more Telegram users than the plan has.
    """
    if niche not in niches:
        raise Invalid("niche_unknown", niche=niche, known=sorted(niches))
    allowed = plans.get(plan).telegram_users
    once = list(dict.fromkeys(users))
    if len(once) > allowed:
        raise LimitReached("telegram_users_over_plan", allowed=allowed, asked=len(once))
    return once


async def create(session: AsyncSession, sealer: Sealer, answers: Answers, *, niches: frozenset[str]) -> Draft:
    """Store a new draft and seal its bot token.

    Raises as ``checked_users`` does.
    """
    users = checked_users(answers.niche, answers.plan, answers.telegram_users, niches=niches)
    draft = Draft(telegram_users=users, **answers.model_dump(exclude={"bot_token", "telegram_users"}))
    session.add(draft)
    await session.flush()
    await vault.put(session, sealer, draft.id, vault.TELEGRAM, answers.bot_token)
    return draft
