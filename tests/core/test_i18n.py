"""Catalogs: nothing is missing in any language, and what is missing is told."""

from __future__ import annotations

from pathlib import Path
from string import Formatter

import pytest

from controller.core.i18n import CatalogError, Catalogs
from controller.domain import letters

PO = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'


@pytest.fixture(scope="module")
def catalogs() -> Catalogs:
    return Catalogs(letters.LOCALES)


def written(folder: Path, locale: str, text: str) -> Path:
    place = folder / locale / "LC_MESSAGES"
    place.mkdir(parents=True, exist_ok=True)
    (place / "page.po").write_text(PO + text)
    return folder


def facts_of(sentence: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(sentence) if field}


@pytest.mark.parametrize("locale", ["pt-BR", "en"])
def test_no_sentence_is_missing_in_any_language(catalogs: Catalogs, locale: str) -> None:
    wanted = {letters.FOOTER, *(line.msgid for line, _ in letters.BUTTONS)}
    wanted |= {msgid for kind in letters.KINDS.values() for msgid in kind.msgids()}
    told = catalogs.sentences(locale)
    assert sorted(msgid for msgid in wanted if not told.get(msgid)) == []
    assert sorted(msgid for msgid, sentence in told.items() if not sentence) == []


def test_all_languages_have_the_same_sentences_with_the_same_facts(catalogs: Catalogs) -> None:
    portuguese, english = catalogs.sentences("pt-BR"), catalogs.sentences("en")
    assert portuguese.keys() == english.keys()
    assert [msgid for msgid in english if facts_of(english[msgid]) != facts_of(portuguese[msgid])] == []


def test_portuguese_has_its_accents(catalogs: Catalogs) -> None:
    words = set(" ".join(catalogs.sentences("pt-BR").values()).lower().split())
    assert {"você", "não", "já", "memória"} <= words
    assert not {"voce", "nao", "ja", "memoria"} & words


@pytest.mark.parametrize(
    ("asked", "got"),
    [("pt-BR", "pt-BR"), ("pt_BR", "pt-BR"), ("pt-PT", "pt-BR"), ("en-GB", "en"), ("de", "pt-BR"), (None, "pt-BR")],
)
def test_the_nearest_language_is_spoken(catalogs: Catalogs, asked: str | None, got: str) -> None:
    assert catalogs.nearest(asked) == got


def test_a_sentence_that_one_language_lacks_is_told_in_the_default(tmp_path: Path) -> None:
    written(tmp_path, "pt_BR", 'msgid "a"\nmsgstr "á {x}"\n')
    made = Catalogs(written(tmp_path, "en", 'msgid "a"\nmsgstr ""\n'))
    assert made.text("en", "a", x=1) == "á 1"


@pytest.mark.parametrize(("msgid", "code"), [("b", "text_missing"), ("a", "text_without_fact")])
def test_a_sentence_that_cannot_be_told_is_an_error(tmp_path: Path, msgid: str, code: str) -> None:
    made = Catalogs(written(tmp_path, "pt_BR", 'msgid "a"\nmsgstr "á {x}"\n'))
    with pytest.raises(CatalogError, match=code):
        made.text("pt-BR", msgid)


def test_a_file_that_is_no_catalog_stops_the_start(tmp_path: Path) -> None:
    written(tmp_path, "pt_BR", 'msgid "a"\nmsgstr "á"\nnonsense\n')
    with pytest.raises(CatalogError, match="catalog_unreadable"):
        Catalogs(tmp_path)


def test_templates_get_the_same_sentences(catalogs: Catalogs) -> None:
    assert catalogs.translations("en-US").gettext("notice.button.dashboard") == "Open the dashboard"
