"""Who is busy for whom: what ``sendChatAction`` shows for five seconds. A restart forgets it, as five seconds do."""

from __future__ import annotations

import time

from controller.sandbox.documents import Document
from controller.sandbox.telegram.bells import Bells

SHOWN_SECONDS = 5.0


class Typing:
    """The chat actions that are on show now."""

    def __init__(self, bells: Bells) -> None:
        self._bells = bells
        self._shown: dict[tuple[int, int], tuple[str, float]] = {}

    def begin(self, bot: Document, chat_id: int, action: str) -> None:
        """The person sees ``action`` for five seconds, or until the bot's next message."""
        self._shown[bot["id"], chat_id] = action, time.monotonic() + SHOWN_SECONDS
        self._bells.ring(f"chat:{bot['id']}:{chat_id}")

    def end(self, bot: Document, chat_id: int) -> None:
        """The person sees nothing of the kind any more."""
        self._shown.pop((bot["id"], chat_id), None)

    def now(self, bot: Document, chat_id: int) -> tuple[str, float] | None:
        """The action and the seconds that it is still shown, or None."""
        action, until = self._shown.get((bot["id"], chat_id), ("", 0.0))
        left = until - time.monotonic()
        return (action, left) if left > 0 else None
