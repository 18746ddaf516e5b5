"""``parse_mode`` HTML as Telegram reads it: plain text and entities, or a refusal."""

from __future__ import annotations

from html.parser import HTMLParser

from controller.sandbox.documents import Document
from controller.sandbox.telegram.faults import bad_request

KINDS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "code": "code", "pre": "pre",
    "a": "text_link", "blockquote": "blockquote", "tg-spoiler": "spoiler", "span": "spoiler",
}  # fmt: skip
"""Every tag that Telegram knows, and the entity that it makes."""


def rendered(source: str, parse_mode: str | None) -> tuple[str, list[Document]]:
    """What the reader sees of ``source``, and its entities (offsets in UTF-16 units).

    Only HTML is read; with another mode the text stays as it came. Raises Fault for HTML that Telegram refuses.
    """
    if (parse_mode or "").lower() != "html":
        return source, []
    reader = _Reader()
    reader.feed(source)
    reader.close()
    if reader.open:
        raise bad_request(
            f"can't parse entities: Can't find end tag corresponding to start tag \"{reader.open[-1][0]}\""
        )
    return reader.text, sorted(reader.entities, key=lambda entity: (entity["offset"], -entity["length"]))


def trimmed(text: str, entities: list[Document]) -> tuple[str, list[Document]]:
    """The text without the blank ends that Telegram takes off, and the entities moved with it."""
    lead, kept = units(text) - units(text.lstrip()), text.strip()
    moved = []
    for entity in entities:
        start = max(entity["offset"] - lead, 0)
        end = min(entity["offset"] + entity["length"] - lead, units(kept))
        if start < end:
            moved.append(entity | {"offset": start, "length": end - start})
    return kept, moved


def units(text: str) -> int:
    """Length in UTF-16 code units, as Telegram counts."""
    return len(text.encode("utf-16-le")) // 2


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.entities: list[Document] = []
        self.open: list[tuple[str, int, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in KINDS:
            raise bad_request(f'can\'t parse entities: Unsupported start tag "{tag}"')
        self.open.append((tag, units(self.text), dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            raise bad_request(f'can\'t parse entities: Unexpected end tag "{tag}"')
        _, start, attributes = self.open.pop()
        entity: Document = {"type": KINDS[tag], "offset": start, "length": units(self.text) - start}
        if tag == "a":
            entity["url"] = attributes.get("href") or ""
        if entity["length"]:
            self.entities.append(entity)

    def handle_data(self, data: str) -> None:
        self.text += data
