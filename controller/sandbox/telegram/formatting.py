"""What a bot writes, as its reader sees it: plain text and entities, or a refusal."""

from __future__ import annotations

from controller.sandbox.documents import Document
from controller.sandbox.telegram import marks, spotting, tags
from controller.sandbox.telegram.faults import bad_request
from controller.sandbox.telegram.params import Params
from controller.sandbox.telegram.spotting import units

LONGEST_TEXT = 4096
LONGEST_CAPTION = 1024
_MODES = {"html": tags.read, "markdownv2": marks.read, "markdown": marks.read_old}
_GIVEN = {"url", "user", "language", "custom_emoji_id"}


def written(params: Params) -> Document:
    """``{text, entities, source, parse_mode}`` of a message. Raises Fault for none and for one that is too long."""
    made = _read(params, "text", "entities")
    if not made["text"]:
        raise bad_request("message text is empty")
    check_length(made["text"])
    return made


def check_length(text: str) -> None:
    """Raises Fault for a text that is longer than a message."""
    if units(text) > LONGEST_TEXT:
        raise bad_request("message is too long")


def captioned(params: Params) -> Document:
    """The same of a file's caption, which may be empty."""
    made = _read(params, "caption", "caption_entities")
    if units(made["text"]) > LONGEST_CAPTION:
        raise bad_request("message caption is too long")
    return made


def rendered(source: str, parse_mode: str | None) -> tuple[str, list[Document]]:
    """What the reader sees of ``source``, and its entities (offsets in UTF-16 units).

    Without a mode the text stays as it came. Raises Fault for an unknown mode and for what Telegram refuses.
    """
    if not parse_mode:
        return source, []
    read = _MODES.get(parse_mode.lower())
    if read is None:
        raise bad_request("unsupported parse_mode")
    text, entities = read(source)
    return text, sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))


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


def _read(params: Params, field: str, entities: str) -> Document:
    source = params.text(field) or ""
    mode = params.text("parse_mode") or None
    text, found = rendered(source, mode)
    if not mode:
        found = _given(params.json(entities))
    text, found = trimmed(text, found)
    return {"text": text, "entities": spotting.spotted(text, found), "source": source, "parse_mode": mode}


def _given(entities: object) -> list[Document]:
    if entities is None or entities == "":
        return []
    if not isinstance(entities, list):
        raise bad_request("can't parse entities: expected an Array")
    kept = []
    for entity in entities:
        if not isinstance(entity, dict) or not all(isinstance(entity.get(n), int) for n in ("offset", "length")):
            raise bad_request("can't parse entities: expected an Object with offset and length")
        wanted = {"type", "offset", "length"} | _GIVEN
        kept.append({name: value for name, value in entity.items() if name in wanted and value is not None})
    return [entity for entity in kept if isinstance(entity.get("type"), str)]
