"""What customers are told, kind by kind, and how it is put into their language. Pure: no network, no database.

A new kind is an entry in ``KINDS`` and its sentences in ``locales/*/LC_MESSAGES/notices.po``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template

from controller.core.i18n import Catalogs, day

LOCALES = Path(__file__).parent / "locales"
Facts = Mapping[str, object]


class Channel(StrEnum):
    """How a notice reaches its reader."""

    TELEGRAM = "telegram"
    EMAIL = "email"


@dataclass(frozen=True)
class Line:
    """One sentence; shown if the fact ``needs`` is there (and true) and the fact ``lacks`` is not."""

    msgid: str
    needs: str | None = None
    lacks: str | None = None

    def shown(self, facts: Facts) -> bool:
        """Whether the sentence fits what we know."""
        wanted = self.needs is None or bool(facts.get(self.needs))
        return wanted and (self.lacks is None or not facts.get(self.lacks))


@dataclass(frozen=True)
class Kind:
    """One kind of notice: ``chat`` is what the box's bot says (None: mail only), ``lines`` the mail's paragraphs."""

    name: str
    lines: tuple[Line, ...]
    chat: str | None = None

    @property
    def subject(self) -> str:
        """The msgid of the mail's subject."""
        return f"notice.{self.name}.subject"

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every notice goes by mail; where the bot has something to say, to its users as well."""
        return (Channel.EMAIL,) if self.chat is None else (Channel.TELEGRAM, Channel.EMAIL)

    def msgids(self) -> set[str]:
        """Every sentence that the kind may use."""
        return {self.subject, *(line.msgid for line in self.lines)} | ({self.chat} if self.chat else set())


AGENT_LIVE = Kind(
    "agent_live",
    lines=(
        Line("notice.agent_live.lead", needs="bot_url"),
        Line("notice.agent_live.start", needs="bot_url"),
        Line("notice.agent_live.lead_without_bot", lacks="bot_url"),
        Line("notice.agent_live.new_token", lacks="bot_url"),
    ),
    chat="notice.agent_live.chat",
)
PAYMENT_FAILED = Kind(
    "payment_failed",
    lines=(
        Line("notice.payment_failed.lead"),
        Line("notice.payment_failed.again", lacks="last_warning"),
        Line("notice.payment_failed.last_warning", needs="last_warning"),
        Line("notice.payment_failed.card"),
    ),
)
"""A warning: mail only, because a team's bot speaks to more people than the one who pays."""

PAYMENT_SUSPENDED = Kind(
    "payment_suspended",
    lines=(
        Line("notice.payment_suspended.lead"),
        Line("notice.payment_suspended.kept"),
        Line("notice.payment_suspended.card"),
    ),
    chat="notice.payment_suspended.chat",
)
SUBSCRIPTION_ENDED = Kind(
    "subscription_ended",
    lines=(
        Line("notice.subscription_ended.lead"),
        Line("notice.subscription_ended.kept", needs="keep_until"),
        Line("notice.subscription_ended.gone", lacks="keep_until"),
    ),
    chat="notice.subscription_ended.chat",
)
USAGE_90 = Kind(
    "usage_90",
    lines=(Line("notice.usage_90.lead"), Line("notice.usage_90.then"), Line("notice.usage_90.plan")),
)
"""A warning, so mail only, as above."""

KINDS = {kind.name: kind for kind in (AGENT_LIVE, PAYMENT_FAILED, PAYMENT_SUSPENDED, SUBSCRIPTION_ENDED, USAGE_90)}

BUTTONS = (
    (Line("notice.button.bot", needs="bot_url"), "bot_url"),
    (Line("notice.button.dashboard", needs="dashboard_url"), "dashboard_url"),
)
FOOTER = "notice.footer"


@dataclass(frozen=True)
class Letter:
    """A mail without its envelope, the same in plain text and in HTML."""

    subject: str
    text: str
    html: str


def mail(catalogs: Catalogs, kind: Kind, locale: str, facts: Facts) -> Letter:
    """The kind's mail in the reader's language.

    Raises CatalogError if a sentence is missing or needs a fact that is not there.
    """
    told = _spelled(facts, catalogs.nearest(locale))

    def say(msgid: str) -> str:
        return catalogs.text(locale, msgid, **told)

    paragraphs = [say(line.msgid) for line in kind.lines if line.shown(facts)]
    buttons = [(say(line.msgid), str(facts[url])) for line, url in BUTTONS if line.shown(facts)]
    subject, footer = say(kind.subject), say(FOOTER)
    html = _layout().render(
        lang=catalogs.nearest(locale), subject=subject, paragraphs=paragraphs, buttons=buttons, footer=footer
    )
    links = [f"{label}: {url}" for label, url in buttons]
    return Letter(subject, "\n\n".join([*paragraphs, *links, f"-- \n{footer}"]) + "\n", html)


def chat(catalogs: Catalogs, kind: Kind, locale: str, facts: Facts) -> str:
    """What the box's own bot says, as plain text. Raises CatalogError like ``mail``."""
    return catalogs.text(locale, kind.chat or kind.subject, **_spelled(facts, catalogs.nearest(locale)))


def _spelled(facts: Facts, locale: str) -> dict[str, object]:
    """Days in the reader's way, and texts on one line: a subject is a header."""
    return {name: _spell(value, locale) for name, value in facts.items()}


def _spell(value: object, locale: str) -> object:
    if isinstance(value, datetime):
        return day(locale, value)
    return " ".join(value.split()) if isinstance(value, str) else value


@cache
def _layout() -> Template:
    found = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=found, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template("mail.html")
