"""What a customer hears of the plan's limit: used up, or nearly so, in the form that suits whoever asked."""

from __future__ import annotations

import math
from typing import Any

import orjson
from starlette.responses import Response

from controller.core import clock
from controller.domain.token_format import Refusal
from proxy import errors
from proxy.body import Prepared
from proxy.gate import UsedUp
from proxy.verdicts import Verdict

HEADER = "x-openclaw-limit"
"""On an answer that is ours and not a model's: the limit that was reached."""

_SENTENCES = {
    "pt-BR": "Os tokens do seu plano neste período acabaram.{renewal} Para continuar agora, mude de plano no painel.",
    "en": "Your plan's tokens for this period are used up.{renewal} To go on now, change the plan in your dashboard.",
}
_RENEWALS = {"pt-BR": " Eles voltam em {at:%d/%m/%Y}.", "en": " They come back on {at:%Y-%m-%d}."}
_SUFFIX = " (Monthly usage limit reached.)"
"""What a gateway with a program's token goes by: it neither waits in silence for as long as Retry-After says, nor takes
the provider for unpaid and asks it no more, but shows its user the sentence at once."""

_NOTHING_USED = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


WARN_AT = 0.9
"""From this share of the plan on, an answer says in a header how much is used or held."""

WARNING = "x-openclaw-usage-percent"


def answer(request_id: str, refused: UsedUp, prepared: Prepared) -> Response:
    """The limit, as the token's holder wants to hear it: as a message of the assistant, or as OpenAI's 429.

    A message for a box's own: the gateway behind it turns a 429 into minutes of silence, and somebody waits for it.
    """
    verdict = refused.verdict
    if verdict.refusal == Refusal.ERROR.value:
        return _error(refused)
    text = _sentence(verdict)
    head = {"id": f"chatcmpl-{request_id}", "created": int(clock.now().timestamp()), "model": prepared.model}
    if prepared.stream:
        content, media = _stream(head, text, with_usage=not prepared.hide_usage), "text/event-stream"
    else:
        content, media = _whole(head, text), "application/json"
    return Response(content, headers={HEADER: "tokens"}, media_type=media)


def warn(response: Response, used: float) -> None:
    """Say how much of the plan is used, if it is nearly all."""
    if used >= WARN_AT:
        response.headers[WARNING] = str(math.floor(used * 100))


def _error(refused: UsedUp) -> Response:
    renews_at = refused.verdict.renews_at
    response = errors.spoken(refused.status, _sentence(refused.verdict) + _SUFFIX, refused.code)
    wait = (renews_at - clock.now()).total_seconds() if renews_at else 3600
    response.headers["retry-after"] = str(max(1, math.ceil(wait)))
    response.headers[HEADER] = "tokens"
    # OpenAI's clients obey it; without, they ask again at once, because the wait is longer than they believe
    response.headers["x-should-retry"] = "false"
    return response


def _sentence(verdict: Verdict) -> str:
    locale = verdict.locale if verdict.locale in _SENTENCES else "en"
    renewal = _RENEWALS[locale].format(at=verdict.renews_at) if verdict.renews_at else ""
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
