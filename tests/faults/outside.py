"""Who is outside: a model, a Telegram and a mail server, each in a thread of the test's process."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from controller.core import ids
from controller.sandbox.llm import app as llm
from tests import mailbox
from tests.sandbox.stripe.serving import serving
from tests.sandbox.telegram.conftest import telegram_in

SLOWLY = "slowly"
"""A question with this word is answered over some two seconds, a word at a time."""
FOREVER = "for ever"
"""A question with these words gets the beginning of an answer and then nothing."""
_SENTENCE = "one two three four five six seven eight nine ten"


class Outside:
    """Open from its making to ``close``; nothing here is ever killed."""

    def __init__(self, folder: Path) -> None:
        self._held = ExitStack()
        self.model_key = f"sk-provider-{secrets.token_hex(16)}"
        self.model_url = self._held.enter_context(serving(llm.create_app(folder / "llm", self.model_key)))
        self.town = self._held.enter_context(telegram_in(folder / "telegram"))
        self.mailbox = self._held.enter_context(mailbox.opened())
        for match, faults in ((SLOWLY, {"chunk_delay_ms": 150}), (FOREVER, {"stall_after": 3})):
            self._answer(match, {"text": _SENTENCE, **faults})

    def new_bot(self) -> dict[str, Any]:
        """A bot to which its first reader, 7001, has said hello."""
        bot = self.town.new_bot(username=f"b{ids.new().lower()}_bot")
        self.town.write(bot, "/start")
        return bot

    def close(self) -> None:
        """Stop everything."""
        self._held.close()

    def _answer(self, match: str, reply: dict[str, Any]) -> None:
        rule = {"match": match, "steps": [reply]}
        httpx.post(f"{self.model_url}/_control/rules", json=rule, timeout=20).raise_for_status()
