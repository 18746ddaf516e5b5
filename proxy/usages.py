"""What an answer used, whatever form its provider tells it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Usage:
    """Tokens. ``cached`` are among ``input``, ``reasoning`` among ``output``."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    def as_chat(self) -> dict[str, Any]:
        """In the form of OpenAI's chat completions."""
        return {
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


def chat_of_responses(told: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's responses' usage under the chat's names; what is wrong in it stays wrong there."""
    return {
        "prompt_tokens": told.get("input_tokens"),
        "completion_tokens": told.get("output_tokens"),
        "prompt_tokens_details": told.get("input_tokens_details"),
        "completion_tokens_details": told.get("output_tokens_details"),
    }


def chat_of_messages(told: Mapping[str, Any]) -> dict[str, Any]:
    """Anthropic's usage under the chat's names: its input leaves out what the cache had or got."""
    read, written = told.get("cache_read_input_tokens") or 0, told.get("cache_creation_input_tokens") or 0
    parts = [told.get("input_tokens"), read, written]
    whole = sum(parts) if all(isinstance(part, int) for part in parts) else None  # type: ignore[arg-type]
    details = told.get("output_tokens_details")
    thought = details.get("thinking_tokens") if isinstance(details, dict) else None
    return {
        "prompt_tokens": whole,
        "completion_tokens": told.get("output_tokens"),
        "prompt_tokens_details": {"cached_tokens": read},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def chat_of_embeddings(told: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's embeddings' usage: they say nothing of an output, for there is none."""
    return {"prompt_tokens": told.get("prompt_tokens"), "completion_tokens": 0}
