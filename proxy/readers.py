"""Reads usage and text out of the answers that are no chat; the usage is noted under the chat's names."""

from __future__ import annotations

from typing import Any

from proxy.reading import Reader
from proxy.usages import chat_of_embeddings, chat_of_messages, chat_of_responses

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_SAID = ("text", "refusal", "arguments", "input", "thinking", "partial_json", "name")


class ResponsesReader(Reader):
    """OpenAI's responses: a stream's last event has the whole response, with its usage."""

    def _note(self, parsed: dict[str, Any]) -> None:
        kind = parsed.get("type")
        if not isinstance(kind, str):
            self._note_response(parsed)
        elif kind in _ENDS:
            self._note_usage(parsed.get("response"))
            self.final = True
        elif kind.endswith(".delta"):
            self._passed_bytes += _size(parsed.get("delta"))

    def _note_response(self, response: dict[str, Any]) -> None:
        self._note_usage(response)
        for item in _dicts(response.get("output")):
            self._passed_bytes += _said(item) + sum(_said(part) for part in _dicts(item.get("content")))
            self._passed_bytes += sum(_said(part) for part in _dicts(item.get("summary")))

    def _note_usage(self, response: object) -> None:
        told = response.get("usage") if isinstance(response, dict) else None
        if isinstance(told, dict):
            self.usage = chat_of_responses(told)


class MessagesReader(Reader):
    """Anthropic's messages: a stream tells its input at the start and its output with the last delta."""

    def __init__(self, *, hide_usage: bool) -> None:
        super().__init__(hide_usage=hide_usage)
        self._told: dict[str, Any] = {}

    def _note(self, parsed: dict[str, Any]) -> None:
        kind = parsed.get("type")
        if kind == "message":
            self._add(parsed.get("usage"))
            self._passed_bytes += sum(_said(block) for block in _dicts(parsed.get("content")))
        elif kind == "message_start":
            message = parsed.get("message")
            told = message.get("usage") if isinstance(message, dict) else None
            # what it says of the output so early is no measurement
            self._add({**told, "output_tokens": None} if isinstance(told, dict) else None)
        elif kind == "content_block_delta":
            delta = parsed.get("delta")
            self._passed_bytes += _said(delta) if isinstance(delta, dict) else 0
        elif kind == "message_delta":
            self._add(parsed.get("usage"))
        self.final = self.final or kind in ("message_delta", "message_stop")

    def _add(self, told: object) -> None:
        if isinstance(told, dict):
            self._told |= {name: value for name, value in told.items() if value is not None}
            self.usage = chat_of_messages(self._told)


class EmbeddingsReader(Reader):
    """OpenAI's embeddings, which have no output to count."""

    def _note(self, parsed: dict[str, Any]) -> None:
        told = parsed.get("usage")
        if isinstance(told, dict):
            self.usage = chat_of_embeddings(told)


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _said(part: dict[str, Any]) -> int:
    return sum(_size(part.get(name)) for name in _SAID)


def _size(value: object) -> int:
    if isinstance(value, dict):  # a tool's input, which OpenAI's form has as a text
        return sum(_size(key) + _size(inner) for key, inner in value.items())
    return len(value.encode(errors="replace")) if isinstance(value, str) else 0
