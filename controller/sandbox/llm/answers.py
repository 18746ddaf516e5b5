"""What the model says to a turn, in no vendor's form yet, and how it is cut into pieces."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from controller.core import clock, ids
from controller.sandbox.llm import filling, wording
from controller.sandbox.llm.choosing import Chosen
from controller.sandbox.llm.scripts import Reply
from controller.sandbox.llm.turns import Tool, Turn

_PIECE = re.compile(r"\s*\S+\s*")

Finish = Literal["stop", "stop_sequence", "length", "tool_calls", "refusal"]


@dataclass(frozen=True)
class Call:
    """A tool call of an answer; ``arguments`` is JSON text."""

    id: str | None
    """None: each dialect makes one of its own kind."""
    name: str
    arguments: str


@dataclass(frozen=True)
class Usage:
    """Tokens. ``prompt`` includes ``cached`` and ``cache_written``; ``completion`` includes ``reasoning``."""

    prompt: int
    completion: int
    cached: int = 0
    cache_written: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Prompt and completion."""
        return self.prompt + self.completion


@dataclass(frozen=True)
class Answer:
    """What the model says, and what it counts."""

    id: str
    """A ULID; each dialect puts its own prefix before it."""
    created: int
    turn: Turn
    text: str | None
    calls: tuple[Call, ...]
    finish: Finish
    usage: Usage
    reasoning: str | None = None
    stopped_by: str | None = None
    """The stop sequence that ended the text."""
    tells_usage: bool = True
    piece_chars: int | None = None

    @property
    def model(self) -> str:
        """The model that the request named."""
        return self.turn.model

    def pieces(self, text: str) -> list[str]:
        """``text`` as it is streamed: a word each, or so many characters each."""
        if self.piece_chars is not None:
            return [text[at : at + self.piece_chars] for at in range(0, len(text), self.piece_chars)]
        return _PIECE.findall(text) or ([text] if text else [])

    def fragments(self, arguments: str) -> list[str]:
        """A call's arguments as they are streamed: two halves, or so many characters each."""
        size = self.piece_chars or max(1, -(-len(arguments) // 2))
        return [arguments[at : at + size] for at in range(0, len(arguments), size)]


def compose(turn: Turn, chosen: Chosen) -> Answer:
    """The answer to ``turn`` that the chosen reply asks for, cut at its stop sequences and its limit of tokens."""
    reply = chosen.reply
    calls = _calls(turn, chosen)
    text = None if reply.text is None else filling.fill(reply.text, chosen.facts)
    if text is None and not calls and turn.speaks:
        text = wording.default_reply(turn.messages)
    reasoning = None if reply.reasoning is None else filling.fill(reply.reasoning, chosen.facts)
    kept, stopped_by = _stopped(text, turn.stops)
    cut = kept if kept is None or turn.limit is None else wording.shortened(kept, turn.limit)
    return Answer(
        id=ids.new(),
        created=int(clock.now().timestamp()),
        turn=turn,
        text=cut,
        calls=calls,
        finish=_finish(reply, calls, stopped_by, is_cut=cut != kept),
        usage=_usage(turn, reply, cut or "", calls, reasoning),
        reasoning=reasoning,
        stopped_by=stopped_by if cut == kept else None,
        tells_usage=not reply.no_usage,
        piece_chars=reply.chunk_chars,
    )


def _calls(turn: Turn, chosen: Chosen) -> tuple[Call, ...]:
    reply = chosen.reply
    made = [
        (call.id, call.name, filling.fill_all(call.arguments, lambda text: filling.fill(text, chosen.facts)))
        for call in reply.tool_calls
    ]
    unscripted = reply.text is None and not made
    if turn.forced is not None and unscripted:
        made = [(None, turn.forced.name, _arguments(turn.forced, wording.human_text(turn.messages)))]
    return tuple(
        Call(key, name, json.dumps(arguments, ensure_ascii=reply.ascii_arguments)) for key, name, arguments in made
    )


def _arguments(tool: Tool, human: str) -> dict[str, Any]:
    """The least that the tool's schema asks for, with the human's words where it takes text."""
    properties = tool.parameters.get("properties") or {}
    least: dict[str, Any] = {"number": 1, "integer": 1, "boolean": True, "array": [], "object": {}, "null": None}
    made = {}
    for name in tool.parameters.get("required") or ():
        schema = properties.get(name) or {}
        kind = str(schema.get("type", "string")).lower()
        made[name] = schema["enum"][0] if schema.get("enum") else least.get(kind, human)
    return made


def _stopped(text: str | None, stops: tuple[str, ...]) -> tuple[str | None, str | None]:
    if text is None:
        return None, None
    found = [(text.index(stop), stop) for stop in stops if stop and stop in text]
    if not found:
        return text, None
    at, stop = min(found)
    return text[:at], stop


def _finish(reply: Reply, calls: tuple[Call, ...], stopped_by: str | None, *, is_cut: bool) -> Finish:
    if is_cut:
        return "length"
    if reply.refusal:
        return "refusal"
    if calls:
        return "tool_calls"
    return "stop_sequence" if stopped_by else "stop"


def _usage(turn: Turn, reply: Reply, text: str, calls: tuple[Call, ...], reasoning: str | None) -> Usage:
    prompt = wording.prompt_tokens(turn.prompt) if turn.counted is None else turn.counted
    cached = min(prompt, reply.cached_tokens)
    thought = wording.tokens(reasoning or "")
    said = wording.completion_tokens(text, [(call.name, call.arguments) for call in calls])
    return Usage(
        prompt=prompt,
        completion=said * turn.choices + thought,
        cached=cached,
        cache_written=min(prompt - cached, reply.cache_written_tokens),
        reasoning=thought,
    )
