"""Reads usage and text out of what passes by, without holding it up; counts what was delivered when nothing says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

BYTES_PER_TOKEN = 4
"""The estimate when the provider did not say: UTF-8 bytes of request or text over four, rounded up."""

_BORDER = re.compile(rb"\r?\n\r?\n")
_PLAIN_BORDER = b"\n\n"
_LONGEST_BORDER = 4
_FIELD = b"data:"
_DONE = b"[DONE]"
_TEXTS = frozenset({"content", "reasoning_content", "refusal"})


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    """Most of what a chat's stream is made of, and all that matters of it; whatever else there is, is no such chunk."""

    choices: list[_Choice]
    usage: None = None


_CHUNKS = msgspec.json.Decoder(_Chunk)


class Reader:
    """Follows one response.

    ``usage`` is the provider's once it was seen; ``final`` says if its last frame was (the usage that was asked for, or
    the end's mark), and ``final_at`` where in what ``feed`` returned last that frame or what follows it begins;
    ``delivered`` if a byte went out.
    """

    def __init__(self, *, hide_usage: bool) -> None:
        self.usage: dict[str, Any] | None = None
        self.final = False
        self.final_at = 0
        self.delivered = False
        self.delivered_bytes = 0
        self._hide = hide_usage
        self._passed_bytes = 0
        self._rest = b""
        self._scanned = 0

    def whole(self, body: bytes) -> None:
        """Read a response that is not a stream."""
        parsed = _object(body)
        self._note(parsed)

    def feed(self, chunk: bytes) -> bytes:
        """What of the stream may go to the client now.

        All of ``chunk`` as it is, unless usage must be hidden: then whole events, without the usage event.
        """
        ended, place = self.final, 0 if self._hide else -len(self._rest)
        self.final_at = 0
        kept: list[bytes] = []
        for event in self._events(chunk):
            hidden = self._read(event)
            if self.final and not ended:
                ended, self.final_at = True, max(0, place)
            if not hidden:
                kept.append(event)
                place += len(event)
        return b"".join(kept) if self._hide else chunk

    def rest(self) -> bytes:
        """What is still held back when the stream ended without its last blank line."""
        left, self._rest = self._rest, b""
        self.final_at = 0
        hidden = bool(left) and self._read(left)
        return left if self._hide and not hidden else b""

    @property
    def torn(self) -> bool:
        """Whether the last event that went to the client is only half there."""
        return bool(self._rest) and not self._hide

    def passing(self) -> None:
        """What was read so far is about to go out: a measurement that is made now counts it."""
        self.delivered_bytes = self._passed_bytes

    def sent(self) -> None:
        """What was read so far has gone out to the client."""
        self.delivered = True
        self.delivered_bytes = self._passed_bytes

    def _events(self, chunk: bytes) -> Sequence[bytes]:
        if not self._rest and chunk.find(_PLAIN_BORDER) + len(_PLAIN_BORDER) == len(chunk) > 1 and b"\r" not in chunk:
            return (chunk,)  # most of what comes
        held = self._rest + chunk
        ends = _ends(held, self._scanned)
        events = [held[start:end] for start, end in zip((0, *ends), ends, strict=False)]
        self._rest = held[ends[-1] :] if ends else held
        # so that one huge event is not searched again from its beginning with each chunk
        self._scanned = max(0, len(self._rest) - _LONGEST_BORDER)
        return events

    def _read(self, event: bytes) -> bool:
        data = _data(event)
        if self._is_chunk(data):
            return False
        parsed = _object(data)
        self._note(parsed)
        usage_alone = isinstance(parsed.get("usage"), dict) and not parsed.get("choices")
        hidden = self._hide and usage_alone
        self.final = self.final or (usage_alone and not hidden) or (not parsed and data.strip() == _DONE)
        return hidden

    def _is_chunk(self, data: bytes) -> bool:
        """Whether it was a chunk of a chat, with text alone, which is noted: a quarter of the work for most events."""
        try:
            chunk = _CHUNKS.decode(data)
        except msgspec.DecodeError:
            return False
        for choice in chunk.choices:
            said = choice.delta
            self._passed_bytes += _size(said.content) + _size(said.reasoning_content) + _size(said.refusal)
        return True

    def _note(self, parsed: dict[str, Any]) -> None:
        if isinstance(parsed.get("usage"), dict):
            self.usage = parsed["usage"]
        choices = parsed.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                said = choice.get("delta") or choice.get("message")
                self._passed_bytes += _text_bytes(said) if isinstance(said, dict) else 0


def estimate(size: int) -> int:
    """Tokens in ``size`` bytes of text, by the rule above."""
    return -(-size // BYTES_PER_TOKEN)


def _ends(held: bytes, start: int) -> list[int]:
    """Where the events in ``held`` end; each chunk comes by here, so what all providers write has a way of its own."""
    if b"\r" in held:
        return [border.end() for border in _BORDER.finditer(held, start)]
    ends = []
    while (border := held.find(_PLAIN_BORDER, start)) >= 0:
        start = border + len(_PLAIN_BORDER)
        ends.append(start)
    return ends


def _data(event: bytes) -> bytes:
    """What an event says, its lines joined; most have one line, and nothing else in it."""
    if event.startswith(_FIELD) and event.find(b"\n") == len(event) - len(_PLAIN_BORDER):
        return event[len(_FIELD) :]
    return b"\n".join(line[len(_FIELD) :] for line in event.splitlines() if line.startswith(_FIELD))


def _text_bytes(said: dict[str, Any]) -> int:
    size = 0
    for name, text in said.items():
        if name in _TEXTS:
            size += _size(text)
        elif name == "tool_calls":
            size += sum(_called_bytes(call) for call in text) if isinstance(text, list) else 0
    return size


def _called_bytes(call: object) -> int:
    function = call.get("function") if isinstance(call, dict) else None
    return _size(function.get("name")) + _size(function.get("arguments")) if isinstance(function, dict) else 0


def _size(text: object) -> int:
    if not isinstance(text, str):
        return 0
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _object(data: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
