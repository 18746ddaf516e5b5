"""What a request says: the newest human words in it, what the model answers to them, and how much that counts."""

from __future__ import annotations

import json
import re
from typing import Any

Message = dict[str, Any]
"""One entry of a request's ``messages``."""

BYTES_PER_TOKEN = 4

_INTERNAL = re.compile(r"<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>.*?(<<<END_OPENCLAW_INTERNAL_CONTEXT>>>|\Z)", re.DOTALL)
# "Conversation info: ⟦openclaw:ctx⟧" and its like, each with a fenced block of JSON below.
_LABELLED = re.compile(r"^[^\n]*⟦openclaw:ctx⟧[^\n]*\n(?:```json\n.*?\n```\n*)?", re.DOTALL | re.MULTILINE)
_TIMESTAMP = re.compile(r"^\[[A-Za-z]{3} \d{4}-\d{2}-\d{2} \d{2}:\d{2}[^\]]*\] *")
_RUNTIME = re.compile(r"^Runtime:[^\n]*\n?", re.MULTILINE)


def human_text(messages: list[Message]) -> str:
    """The newest words of a human, without what OpenClaw wraps around them; empty if there are none.

    OpenClaw sends the human's message as a string and then its own as the last user message, a list of text
    parts; so such a list counts as human only if no string does, or if it also carries something else (a picture).
    """
    users = [message for message in messages if message.get("role") == "user"]
    spoken = [text for text in map(_bare, filter(_is_humans, users)) if text]
    if spoken:
        return spoken[-1]
    return next(filter(None, map(_bare, reversed(users))), "")


def default_reply(messages: list[Message]) -> str:
    """What the model says without a script: the human's words, and the tool's result if one has just come."""
    said = f"You said: {human_text(messages)}"
    result = _fresh_result(messages)
    return said if result is None else f"{said}\nThe tool answered: {result}"


def prompt_tokens(body: dict[str, Any]) -> int:
    """Tokens of a request: its messages and tools as compact UTF-8 JSON, a token for every 4 bytes begun."""
    counted = [body.get("messages", []), body.get("tools") or []]
    return _tokens(json.dumps(counted, ensure_ascii=False, separators=(",", ":")))


def completion_tokens(text: str, calls: list[tuple[str, str]]) -> int:
    """Tokens of an answer: its text, and each call's name and arguments, a token for every 4 bytes begun."""
    return _tokens(text) + sum(_tokens(name + arguments) for name, arguments in calls)


def shortened(text: str, tokens: int) -> str:
    """The longest start of ``text`` that counts at most ``tokens`` and splits no character."""
    return text.encode()[: tokens * BYTES_PER_TOKEN].decode(errors="ignore")


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def _is_humans(message: Message) -> bool:
    content = message.get("content")
    return isinstance(content, str) or any(part.get("type") != "text" for part in content or ())


def _bare(message: Message) -> str:
    text = _LABELLED.sub("", _INTERNAL.sub("", _plain(message.get("content"))))
    return _RUNTIME.sub("", _TIMESTAMP.sub("", text.strip())).strip()


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or () if part.get("type") == "text")


def _fresh_result(messages: list[Message]) -> str | None:
    """The result that came after the human's newest words."""
    for message in reversed(messages):
        if message.get("role") == "tool":
            return _plain(message.get("content"))
        if message.get("role") == "user" and _is_humans(message) and _bare(message):
            return None
    return None
