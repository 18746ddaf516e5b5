"""What a request says: the newest human words in it, the tool results since, and how much it counts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]
"""One entry of a chat request's ``messages``."""

BYTES_PER_TOKEN = 4

_INTERNAL = re.compile(r"<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>.*?(<<<END_OPENCLAW_INTERNAL_CONTEXT>>>|\Z)", re.DOTALL)
# "Conversation info: ⟦openclaw:ctx⟧" and its like, each with a fenced block of JSON below.
_LABELLED = re.compile(r"^[^\n]*⟦openclaw:ctx⟧[^\n]*\n(?:```json\n.*?\n```\n*)?", re.DOTALL | re.MULTILINE)
_TIMESTAMP = re.compile(r"^\[[A-Za-z]{3} \d{4}-\d{2}-\d{2} \d{2}:\d{2}[^\]]*\] *")
# Put before a prompt, with the older one, when an earlier try of the turn has failed.
_QUEUED = re.compile(r"^\[Queued user message from a previous active turn;[^\]\n]*\]\n")
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
    results = fresh_results(messages)
    return f"{said}\nThe tool answered: {results[-1]}" if results else said


def fresh_results(messages: list[Message]) -> list[str]:
    """The results of tools that came after the human's newest words, in their order."""
    return [plain(one.get("content")) for one in _since_human(messages) if one.get("role") == "tool"]


def rounds(messages: list[Message]) -> int:
    """How often tools were called and answered since the human's newest words."""
    return sum(1 for one in _since_human(messages) if one.get("tool_calls"))


def recall(messages: list[Message], pattern: str) -> str | None:
    """What ``pattern`` finds in the request, instructions too, the newest text first: its group 1, or all of it."""
    for message in reversed(messages):
        found = re.search(pattern, plain(message.get("content")))
        if found:
            return found[1] if found.re.groups else found[0]
    return None


def plain(content: Any) -> str:
    """The text of a message's content."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or () if part.get("type") == "text")


def prompt_tokens(prompt: Sequence[Any]) -> int:
    """Tokens of a request: what the model reads of it as compact UTF-8 JSON, a token for every 4 bytes begun."""
    return tokens(json.dumps(prompt, ensure_ascii=False, separators=(",", ":")))


def completion_tokens(text: str, calls: list[tuple[str, str]]) -> int:
    """Tokens of an answer: its text, and each call's name and arguments, a token for every 4 bytes begun."""
    return tokens(text) + sum(tokens(name + arguments) for name, arguments in calls)


def shortened(text: str, limit: int) -> str:
    """The longest start of ``text`` that counts at most ``limit`` tokens and splits no character."""
    return text.encode()[: limit * BYTES_PER_TOKEN].decode(errors="ignore")


def tokens(text: str) -> int:
    """A token for every 4 bytes of UTF-8 begun."""
    return -(-len(text.encode(errors="surrogatepass")) // BYTES_PER_TOKEN)


def _since_human(messages: list[Message]) -> list[Message]:
    strings = any(_is_humans(one) and _bare(one) for one in messages if one.get("role") == "user")
    for index in range(len(messages) - 1, -1, -1):
        one = messages[index]
        if one.get("role") == "user" and (not strings or _is_humans(one)) and _bare(one):
            return messages[index + 1 :]
    return messages


def _is_humans(message: Message) -> bool:
    content = message.get("content")
    return isinstance(content, str) or any(part.get("type") != "text" for part in content or ())


def _bare(message: Message) -> str:
    text = _LABELLED.sub("", _INTERNAL.sub("", plain(message.get("content"))))
    text = _RUNTIME.sub("", _TIMESTAMP.sub("", text.strip())).strip()
    while queued := _QUEUED.match(text):
        text = _TIMESTAMP.sub("", _newer(text[queued.end() :])).strip()
    return text


def _newer(text: str) -> str:
    """The prompt that follows an older one: the second half if they are the same, else all after a blank line."""
    parts = text.split("\n\n")
    half = len(parts) // 2
    return "\n\n".join(parts[half:] if parts[:half] == parts[half:] else parts[1:])
