"""How much: a plan's tokens for the billing period, and what a box says once they are used up.

A first cut: what was metered is looked at with every verdict on the token, so a box can overshoot by what it uses
within those seconds and by what is under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from starlette.responses import Response

from controller.core import clock
from controller.domain import plans
from proxy.body import Prepared

HEADER = "x-openclaw-limit"
"""On an answer that is ours and not a model's: the limit that was reached."""

_SENTENCES = {
    "pt-BR": "Os tokens do seu plano neste período acabaram.{renewal} Para continuar agora, mude de plano no painel.",
    "en": "Your plan's tokens for this period are used up.{renewal} To go on now, change the plan in your dashboard.",
}
_RENEWALS = {"pt-BR": " Eles voltam em {at:%d/%m/%Y}.", "en": " They come back on {at:%Y-%m-%d}."}
_NOTHING_USED = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@dataclass(frozen=True)
class Allowance:
    """What a box's plan gives for the period and what was metered of it, input and output together (tokens)."""

    plan: str
    locale: str
    spent_tokens: int
    renews_at: datetime | None

    def used_up(self) -> bool:
        """Whether nothing is left."""
        return self.spent_tokens >= plans.get(self.plan).tokens


def answer(request_id: str, allowance: Allowance, prepared: Prepared) -> Response:
    """The limit as a message of the assistant, in the form that was asked for.

    Not a 429: the gateway behind a box's token turns that into minutes of silence, and a person waits on Telegram.
    """
    text = _sentence(allowance)
    head = {"id": f"chatcmpl-{request_id}", "created": int(clock.now().timestamp()), "model": prepared.model}
    if prepared.stream:
        content, media = _stream(head, text, with_usage=not prepared.hide_usage), "text/event-stream"
    else:
        content, media = _whole(head, text), "application/json"
    return Response(content, headers={HEADER: "tokens"}, media_type=media)


def _sentence(allowance: Allowance) -> str:
    locale = allowance.locale if allowance.locale in _SENTENCES else "en"
    renewal = _RENEWALS[locale].format(at=allowance.renews_at) if allowance.renews_at else ""
    return _SENTENCES[locale].format(renewal=renewal)


def _whole(head: dict[str, Any], text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return orjson.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": _NOTHING_USED})


def _stream(head: dict[str, Any], text: str, *, with_usage: bool) -> bytes:
    said = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    events: list[dict[str, Any]] = [
        {"choices": [said]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    if with_usage:
        events.append({"choices": [], "usage": _NOTHING_USED})
    chunks = [orjson.dumps({**head, "object": "chat.completion.chunk", **event}) for event in events]
    return b"".join(b"data: " + chunk + b"\n\n" for chunk in [*chunks, b"[DONE]"])
