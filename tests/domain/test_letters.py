"""What customers read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controller.core.i18n import Catalogs
from controller.domain import letters
from controller.domain.letters import AGENT_LIVE, PAYMENT_FAILED, SUBSCRIPTION_ENDED, Kind

FACTS: dict[str, object] = {
    "agent": "Ana", "bot_url": "https://t.me/ana_bot", "dashboard_url": "https://openclaw.cloud/dashboard",
    "attempt": 1, "attempts": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def catalogs() -> Catalogs:
    return Catalogs(letters.LOCALES)


@pytest.mark.parametrize("locale", ["pt-BR", "en"])
@pytest.mark.parametrize("kind", letters.KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_can_be_told_in_every_language(catalogs: Catalogs, kind: Kind, locale: str) -> None:
    letter = letters.mail(catalogs, kind, locale, FACTS)
    assert "Ana" in letter.subject
    for url in (FACTS["bot_url"], FACTS["dashboard_url"]):
        assert str(url) in letter.text
        assert f'href="{url}"' in letter.html
    assert f'<html lang="{locale}">' in letter.html
    assert letters.chat(catalogs, kind, locale, FACTS)


def test_a_live_agent_without_a_working_bot_asks_for_a_token_instead(catalogs: Catalogs) -> None:
    letter = letters.mail(catalogs, AGENT_LIVE, "pt-BR", FACTS | {"bot_url": None})
    assert "Informe um novo token" in letter.text
    assert "t.me" not in letter.text + letter.html


def test_the_last_warning_says_what_comes_next(catalogs: Catalogs) -> None:
    first = letters.mail(catalogs, PAYMENT_FAILED, "en", FACTS).text
    second = letters.mail(catalogs, PAYMENT_FAILED, "en", FACTS | {"attempt": 2, "last_warning": True}).text
    assert ("Attempt 1 of 3" in first, "paused" in first) == (True, False)
    assert ("Attempt 2 of 3" in second, "paused" in second) == (True, True)


@pytest.mark.parametrize(("locale", "day"), [("pt-BR", "8 de dezembro de 2026"), ("en", "December 8, 2026")])
def test_days_are_written_as_the_reader_writes_them(catalogs: Catalogs, locale: str, day: str) -> None:
    until = FACTS | {"keep_until": datetime(2026, 12, 8, 12, tzinfo=UTC)}
    assert day in letters.mail(catalogs, SUBSCRIPTION_ENDED, locale, until).text


def test_a_name_is_text_in_html_and_one_line_in_a_subject(catalogs: Catalogs) -> None:
    letter = letters.mail(catalogs, AGENT_LIVE, "en", FACTS | {"agent": "<b>Ana</b> {x}\r\nBcc: all@example.com"})
    assert letter.subject == "<b>Ana</b> {x} Bcc: all@example.com is live"
    assert "<b>" not in letter.html
