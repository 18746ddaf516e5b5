"""An answer in no provider's form, piece by piece, and how OpenAI's chat says it, streamed or whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.usages import Usage

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Fragment:
    """Part of a tool call; ``index`` tells the provider's calls apart, id and name come with a call's first part."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True)
class Piece:
    """What came at once."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[Fragment, ...] = ()
    finish: str | None = None
    usage: Usage | None = None


@dataclass
class _Call:
    number: int
    id: str
    name: str
    arguments: str = ""


@dataclass
class Spoken:
    """One answer on its way to the client.

    Whatever a provider repeats or leaves out, a call's id and name are said once, calls are numbered from 0 in the
    order in which they began, and an answer that calls ends with ``tool_calls``.
    """

    key: str
    model: str
    created: int
    include_usage: bool = False
    _calls: dict[int, _Call] = field(default_factory=dict)
    _text: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _finish: str | None = None
    _usage: Usage | None = None
    _begun: bool = False

    @property
    def complete(self) -> bool:
        """Whether the provider has said that, and why, it ended."""
        return self._finish is not None

    def stream(self, piece: Piece) -> bytes:
        """The events that tell of ``piece``."""
        deltas: list[dict[str, Any]] = []
        if piece.reasoning:
            deltas.append({"reasoning_content": piece.reasoning})
        if piece.text:
            deltas.append({"content": piece.text})
        for fragment in piece.calls:
            deltas += self._call(fragment)
        self._note(piece)
        if deltas and not self._begun:
            self._begun = True
            deltas.insert(0, {"role": "assistant", "content": ""})
        return b"".join(self._chunk(delta) for delta in deltas)

    def alive(self) -> bytes:
        """An event that says nothing, for the while in which the provider says no more than that it is there.

        A comment would do for us, but not for clients: they go by the events that their parser gives them.
        """
        delta: dict[str, Any] = {} if self._begun else {"role": "assistant", "content": ""}
        self._begun = True
        return self._chunk(delta)

    def end(self) -> bytes:
        """The events that close the stream."""
        opening = b"" if self._begun else self._chunk({"role": "assistant", "content": ""})
        closing = self._chunk({}, self._ending())
        if self.include_usage and self._usage is not None:
            closing += self._event({"choices": [], "usage": self._usage.as_chat()})
        return opening + closing + DONE

    def whole(self, piece: Piece) -> bytes:
        """The answer in one piece."""
        for fragment in piece.calls:
            self._call(fragment)
        self._note(piece)
        message: dict[str, Any] = {"role": "assistant", "content": piece.text or None, "refusal": None}
        if piece.reasoning:
            message["reasoning_content"] = piece.reasoning
        if self._calls:
            message["tool_calls"] = [_told(call, call.arguments) for call in self._calls.values()]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._ending()}
        told = {} if self._usage is None else {"usage": self._usage.as_chat()}
        return _dumped({**self._head("chat.completion"), "choices": [choice], **told})

    def _note(self, piece: Piece) -> None:
        self._finish = piece.finish or self._finish
        self._usage = piece.usage or self._usage

    def _call(self, fragment: Fragment) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = []
        call = self._calls.get(fragment.index)
        if call is None:
            number = len(self._calls)
            named = fragment.id or f"call_{self.key}{number:02}"
            call = self._calls[fragment.index] = _Call(number, named, fragment.name or "")
            deltas.append({"tool_calls": [{"index": number, **_told(call, "")}]})
        if fragment.arguments:
            call.arguments += fragment.arguments
            deltas.append({"tool_calls": [{"index": call.number, "function": {"arguments": fragment.arguments}}]})
        return deltas

    def _ending(self) -> str:
        if self._calls and self._finish in (None, "stop", "tool_calls", "function_call"):
            return "tool_calls"
        return self._finish or "stop"

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._event({"choices": [choice], **({"usage": None} if self.include_usage else {})})

    def _event(self, told: dict[str, Any]) -> bytes:
        return b"data: " + _dumped({**self._head("chat.completion.chunk"), **told}) + b"\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self.key}", "object": kind, "created": self.created, "model": self.model}


def _told(call: _Call, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _dumped(told: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(told)
    except TypeError:  # half a character, whose other half comes with the next piece
        return json.dumps(told).encode()
