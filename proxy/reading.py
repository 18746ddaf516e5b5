"""Reads usage and text out of what passes by, without holding it up; counts what was delivered when nothing says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

BYTES_PER_TOKEN = 4
"""The estimate when the provider did not say: UTF-8 bytes of request or text over four, rounded up."""

_BORDER = re.compile(rb"\r?\n\r?\n")
_LONGEST_BORDER = 4
_DONE = b"[DONE]"
_TEXTS = ("content", "reasoning_content", "refusal")


class Reader:
    """Follows one response.

    ``usage`` is the provider's once it was seen; ``final`` says if its last frame was (the usage that was asked for, or
    the end's mark); ``delivered`` if a byte went out.
    """

    def __init__(self, *, hide_usage: bool) -> None:
        self.usage: dict[str, Any] | None = None
        self.final = False
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
        kept = [event for event in self._events(chunk) if not self._read(event)]
        return b"".join(kept) if self._hide else chunk

    def rest(self) -> bytes:
        """What is still held back when the stream ended without its last blank line."""
        left, self._rest = self._rest, b""
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

    def _events(self, chunk: bytes) -> Iterator[bytes]:
        held = self._rest + chunk
        start = 0
        for border in _BORDER.finditer(held, self._scanned):
            yield held[start : border.end()]
            start = border.end()
        self._rest = held[start:]
        # so that one huge event is not searched again from its beginning with each chunk
        self._scanned = max(0, len(self._rest) - _LONGEST_BORDER)

    def _read(self, event: bytes) -> bool:
        lines = (line for line in event.splitlines() if line.startswith(b"data:"))
        data = b"\n".join(line[5:] for line in lines)
        parsed = _object(data)
        self._note(parsed)
        usage_alone = isinstance(parsed.get("usage"), dict) and not parsed.get("choices")
        hidden = self._hide and usage_alone
        self.final = self.final or (usage_alone and not hidden) or data.strip() == _DONE
        return hidden

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


def _text_bytes(said: dict[str, Any]) -> int:
    texts = [said.get(name) for name in _TEXTS]
    calls = said.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            texts += [function.get("name"), function.get("arguments")]
    return sum(len(text.encode(errors="replace")) for text in texts if isinstance(text, str))


def _object(data: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
