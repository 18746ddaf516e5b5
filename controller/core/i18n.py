"""Texts in the reader's language: gettext catalogs read from ``.po`` files at a process's start.

A folder holds ``<locale>/LC_MESSAGES/*.po``; a locale may have several files (one a surface), which are read as one.
A msgid is a stable dotted name, never a sentence: sentences stand in the catalogs alone. The only module that imports
Babel.
"""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import cast

from babel import Locale
from babel.dates import format_date
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.support import Translations

from controller.core.errors import Permanent, foreign

DEFAULT = "pt-BR"
"""The language of whoever did not choose one."""


class CatalogError(Permanent):
    """Raised when a catalog cannot be read, or a text is in none of them."""


class Catalogs:
    """Every language's texts, held in memory."""

    def __init__(self, folder: Path, default: str = DEFAULT) -> None:
        """Read all catalogs below ``folder``.

        Raises CatalogError for a file that is not a catalog, or without any file of the default language.
        """
        self._default = default
        self._texts = {_tag(place.name): _read(place) for place in sorted(folder.iterdir()) if place.is_dir()}
        if default not in self._texts:
            raise CatalogError("catalog_missing", locale=default)
        self._translations = {tag: _compiled(texts) for tag, texts in self._texts.items()}

    @property
    def locales(self) -> tuple[str, ...]:
        """The languages that we have, as browsers spell them (``pt-BR``)."""
        return tuple(self._texts)

    def nearest(self, asked: str | None) -> str:
        """The language that fits ``asked`` best: the same, else one of the same tongue, else the default."""
        tongue = (asked or "").replace("_", "-").lower()
        for tag in self._texts:
            if tag.lower() == tongue:
                return tag
        for tag in self._texts:
            if tag.split("-")[0] == tongue.split("-")[0]:
                return tag
        return self._default

    def translations(self, locale: str) -> Translations:
        """The catalog of the nearest language, as Jinja2's ``i18n`` extension wants it."""
        return self._translations[self.nearest(locale)]

    def text(self, locale: str, msgid: str, **facts: object) -> str:
        """The sentence ``msgid`` with ``facts`` filled in; the default language's where this one lacks it.

        Raises CatalogError if neither has it or a fact is missing.
        """
        chosen = self._texts[self.nearest(locale)]
        sentence = chosen.get(msgid) or self._texts[self._default].get(msgid)
        if not sentence:
            raise CatalogError("text_missing", msgid=msgid)
        try:
            return sentence.format(**facts)
        except (KeyError, IndexError, ValueError) as exc:
            raise CatalogError("text_without_fact", msgid=msgid, reason=foreign(exc)) from exc

    def sentences(self, locale: str) -> dict[str, str]:
        """Every msgid of the language with its sentence; an empty one is not translated yet."""
        return dict(self._texts[locale])


def day(tag: str, at: datetime) -> str:
    """The day of ``at`` (UTC) as readers of the language ``tag`` write it: ``8 de dezembro de 2026``."""
    return format_date(at.astimezone(UTC).date(), format="long", locale=Locale.parse(tag, sep="-"))


def _tag(folder: str) -> str:
    return folder.replace("_", "-")


def _read(place: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sorted((place / "LC_MESSAGES").glob("*.po")):
        try:
            catalog = read_po(BytesIO(file.read_bytes()), locale=place.name, charset="utf-8", abort_invalid=True)
        except (PoFileError, UnicodeDecodeError, ValueError) as exc:
            raise CatalogError("catalog_unreadable", file=file.name, reason=foreign(exc)) from exc
        # A msgid is one string here; plural forms have lists.
        found.update({str(one.id): cast(str, one.string) for one in catalog if one.id and isinstance(one.id, str)})
    return found


def _compiled(texts: dict[str, str]) -> Translations:
    catalog = Catalog()
    for msgid, sentence in texts.items():
        catalog.add(msgid, sentence)
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(compiled)
