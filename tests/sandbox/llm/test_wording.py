"""Finding the human's words in what OpenClaw sends."""

from __future__ import annotations

from typing import Any

import pytest

from controller.sandbox.llm import wording
from tests.sandbox.llm.serving import Model

INTERNAL = {
    "role": "user",
    "content": [
        {
            "type": "text",
            "text": "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nRuntime: x\n<<<END_OPENCLAW_INTERNAL_CONTEXT>>>",
        }
    ],
}
SCRUBBED = {"role": "user", "content": [{"type": "text", "text": "lorem ipsum"}]}
WRAPPED = 'Conversation info: ⟦openclaw:ctx⟧\n```json\n{"sender": "Ana"}\n```\n\nqual o horário?'
QUEUED = (
    "[Queued user message from a previous active turn; preserved as context only. Continue with the active prompt"
    " below.]\n"
)
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([user("hi"), INTERNAL], "hi"),
        ([user("hi"), SCRUBBED], "hi"),
        ([user("first"), {"role": "assistant", "content": "ok"}, user("second"), INTERNAL], "second"),
        ([user("hi"), {"role": "assistant", "content": None}, {"role": "tool", "content": "r"}, INTERNAL], "hi"),
        ([user(WRAPPED), INTERNAL], "qual o horário?"),
        ([user("[Tue 2026-11-24 02:10 UTC] hi\nRuntime: model=small"), INTERNAL], "hi"),
        ([user("old"), user([{"type": "text", "text": "see this"}, PICTURE]), INTERNAL], "see this"),
        ([user([{"type": "text", "text": "plain parts"}])], "plain parts"),
        ([user(f"{QUEUED}try again\n\ntry again"), INTERNAL], "try again"),
        ([user(f"{QUEUED}old words\n\n[Tue 2026-11-24 02:10 UTC] new words"), INTERNAL], "new words"),
        ([user(f"{QUEUED}one\n\ntwo\n\none\n\ntwo"), INTERNAL], "one\n\ntwo"),
        ([{"role": "system", "content": "s"}, INTERNAL], ""),
    ],
)
def test_the_newest_human_words_are_found(messages: list[dict[str, Any]], found: str) -> None:
    assert wording.human_text(messages) == found


def openclaw_turn(text: str) -> dict[str, Any]:
    """A turn in the shape that OpenClaw sends: system, the human's string, OpenClaw's own list, as a stream."""
    return {
        "model": "claw-1",
        "messages": [{"role": "system", "content": "s" * 29_000}, user(text), INTERNAL],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tool_choice": "auto",
        "tools": [{"type": "function", "function": {"name": "exec", "parameters": {"type": "object"}}}],
        "max_completion_tokens": 16_384,
    }


def test_an_openclaw_turn_is_answered_with_the_humans_words_and_its_usage(model: Model) -> None:
    body = openclaw_turn("quero marcar um horário")
    stream = list(model.api.chat.completions.create(**body))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == "You said: quero marcar um horário"
    assert stream[-1].usage is not None
    assert stream[-1].usage.prompt_tokens == wording.prompt_tokens([body["messages"], body["tools"]]) > 7_000
