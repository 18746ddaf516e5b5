"""What a customer hears of the plan's limit: used up, or nearly so, in the form that suits whoever asked."""

from __future__ import annotations

import math

from starlette.responses import Response

from controller.core import clock
from controller.domain.token_format import Refusal
from proxy.body import Prepared
from proxy.gate import UsedUp
from proxy.sayings import Saying
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

WARN_AT = 0.9
"""From this share of the plan on, an answer says in a header how much is used or held."""

WARNING = "x-openclaw-usage-percent"


def answer(request_id: str, refused: UsedUp, prepared: Prepared) -> Response:
    """The limit, as the token's holder wants to hear it: as a message of the assistant, or as an error, 429.

    A message for a box's own: the gateway behind it turns a 429 into minutes of silence, and somebody waits for it.
    """
    verdict = refused.verdict
    whole, streamed = prepared.dialect.whole, prepared.dialect.stream
    if verdict.refusal == Refusal.ERROR.value or whole is None or streamed is None:
        return _error(refused, prepared)
    saying = Saying(
        request_id, prepared.model, int(clock.now().timestamp()), _sentence(verdict), not prepared.hide_usage
    )
    content, media = (streamed(saying), "text/event-stream") if prepared.stream else (whole(saying), "application/json")
    return Response(content, headers={HEADER: "tokens"}, media_type=media)


def warn(response: Response, used: float) -> None:
    """Say how much of the plan is used, if it is nearly all."""
    if used >= WARN_AT:
        response.headers[WARNING] = str(math.floor(used * 100))


def _error(refused: UsedUp, prepared: Prepared) -> Response:
    renews_at = refused.verdict.renews_at
    sentence = _sentence(refused.verdict) + _SUFFIX
    response = prepared.dialect.form(refused.status, sentence, refused.code)
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
