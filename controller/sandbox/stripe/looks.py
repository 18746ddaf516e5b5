"""How the hosted pages look and speak: templates, money, dates and the words in two languages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from controller.sandbox.documents import Document
from controller.sandbox.stripe.words import WORDS

_SYMBOLS = {"usd": "US$", "brl": "R$", "eur": "€"}
_MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "pt": ("jan.", "fev.", "mar.", "abr.", "mai.", "jun.", "jul.", "ago.", "set.", "out.", "nov.", "dez."),
}

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, *, locale: str | None, **facts: object) -> str:
    """The page in the locale's language: Portuguese for ``pt…``, English for every other."""
    language = _language(locale)

    def say(key: str, **values: object) -> str:
        return WORDS[key][language].format(**values)

    def money(amount: int, currency: str) -> str:
        digits = f"{abs(amount) / 100:,.2f}"
        if language == "pt":
            digits = digits.translate(str.maketrans(",.", ".,"))
        return f"{'−' if amount < 0 else ''}{_SYMBOLS.get(currency, currency.upper())} {digits}"

    def day(at: int) -> str:
        when = datetime.fromtimestamp(at, UTC)
        month = _MONTHS[language][when.month - 1]
        return f"{when.day} de {month} de {when.year}" if language == "pt" else f"{month} {when.day}, {when.year}"

    def every(price: Document) -> str:
        count, interval = price["recurring"]["interval_count"], price["recurring"]["interval"]
        return say(interval) if count == 1 else f"{count} {say(interval + 's')}"

    return _templates.get_template(template).render(
        lang="pt-BR" if language == "pt" else "en", t=say, money=money, day=day, every=every, **facts
    )


def sentence(key: str, locale: str | None) -> str:
    """The words behind ``key`` in the locale's language."""
    return WORDS[key][_language(locale)]


def _language(locale: str | None) -> str:
    return "pt" if (locale or "").lower().startswith("pt") else "en"
