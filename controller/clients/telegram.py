"""Telegram's Bot API, as one bot or another: a bot's token is in the address of every call, and in no log or error."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from controller.core.errors import CloudError, Invalid, OutcomeUnknown, Permanent, Refused, Temporary, foreign
from controller.core.settings import Group
from controller.domain import drafts

TIMEOUT_SECONDS = 15.0
_TOKEN_IN_PATH = re.compile(r"/bot[^/\s]+/")


class TelegramSettings(Group):
    """How we reach Telegram."""

    telegram_api_url: str = "https://api.telegram.org"
    """Another address for a stand-in or a Bot API server of our own."""


class TokenRefused(Invalid):
    """Raised when Telegram knows no bot of this token: mistyped, revoked or the bot deleted."""


class ChatClosed(Refused):
    """Raised when the bot may not write to this person: they never pressed Start, blocked it or are gone."""


class TelegramAway(Temporary):
    """Raised when Telegram does not answer or asks for patience; nothing was sent."""


@dataclass(frozen=True)
class BotUser:
    """A bot as Telegram knows it."""

    id: int
    username: str

    @property
    def url(self) -> str:
        """Where people start talking to it."""
        return f"https://t.me/{self.username}"


class Telegram:
    """One process's client, for any number of bots."""

    def __init__(self, settings: TelegramSettings) -> None:
        _hush()
        self._http = httpx.AsyncClient(base_url=settings.telegram_api_url, timeout=TIMEOUT_SECONDS)

    async def me(self, token: str) -> BotUser:
        """The token's bot.

        Raises TokenRefused, TelegramAway.
        """
        found = await self._ask(token, "getMe", {})
        return BotUser(found["id"], found["username"])

    async def send(self, token: str, chat_id: int, text: str) -> int:
        """Write ``text``, as it is, to a person; the message's id.

        Raises ChatClosed, TokenRefused, TelegramAway; OutcomeUnknown if the answer was lost: it may have arrived.
        """
        sent = await self._ask(token, "sendMessage", {"chat_id": chat_id, "text": text})
        return int(sent["message_id"])

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _ask(self, token: str, method: str, body: dict[str, Any]) -> dict[str, Any]:
        path = f"/bot{drafts.bot_token(token)}/{method}"
        try:
            answer = await self._http.post(path, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
            raise TelegramAway("telegram_away", reason=_clean(exc)) from None
        except httpx.TransportError as exc:
            raise OutcomeUnknown("telegram_answer_lost", reason=_clean(exc) or type(exc).__name__) from None
        told = _document(answer)
        if told.get("ok") is True:
            found: dict[str, Any] = told["result"]
            return found
        raise _refusal(answer.status_code, told)


def _refusal(status: int, told: dict[str, Any]) -> CloudError:
    reason = _clean(told.get("description", ""))
    if status in {401, 404}:
        return TokenRefused("bot_token_refused", reason=reason)
    if status == 403 or "chat not found" in reason.lower():
        return ChatClosed("telegram_chat_closed", reason=reason)
    if status == 429:
        seconds = (told.get("parameters") or {}).get("retry_after", 1)
        return TelegramAway("telegram_busy", retry_after=timedelta(seconds=int(seconds)), reason=reason)
    if status >= 500:
        return TelegramAway("telegram_away", status=status, reason=reason)
    return Permanent("telegram_refused", status=status, reason=reason)


def _document(answer: httpx.Response) -> dict[str, Any]:
    """The answer's JSON; something in between, such as a proxy's error page, is an empty document."""
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _clean(text: object) -> str:
    return foreign(_TOKEN_IN_PATH.sub("/bot***/", str(text)))


class _Hush(logging.Filter):
    """Takes the token out of httpx's own log line, which has the address of every request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, cleaned."""
        record.msg, record.args = _TOKEN_IN_PATH.sub("/bot***/", record.getMessage()), ()
        return True


def _hush() -> None:
    logger = logging.getLogger("httpx")
    if not any(isinstance(one, _Hush) for one in logger.filters):
        logger.addFilter(_Hush())
