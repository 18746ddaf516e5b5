"""How many messages Telegram takes, and the 429 for the rest; off until somebody switches it on."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque

from controller.sandbox.documents import Document, Documents
from controller.sandbox.telegram.faults import Fault


class Limits:
    """Messages a second, for each chat and for each bot. The switch is kept, the counts are not."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._sent: dict[tuple[int, str], deque[float]] = defaultdict(deque)

    def standing(self) -> Document:
        """``{per_chat_per_second, per_bot_per_second}``; None is no limit. Telegram's own are about 1 and 30."""
        off = {"per_chat_per_second": None, "per_bot_per_second": None}
        return self._documents.get("switch", "limits") or off

    def set(self, per_chat_per_second: int | None, per_bot_per_second: int | None) -> None:
        """Limit from now on, with fresh counts."""
        switched = {"per_chat_per_second": per_chat_per_second, "per_bot_per_second": per_bot_per_second}
        self._documents.put("switch", "limits", switched)
        self._sent.clear()

    def take(self, bot: Document, chat_id: object) -> None:
        """Count a message to the chat.

        Raises Fault (429, with ``retry_after``) for one too many, which is not counted.
        """
        switched, now = self.standing(), time.monotonic()
        asked = ((str(chat_id), switched["per_chat_per_second"]), ("", switched["per_bot_per_second"]))
        counted = [(self._sent[bot["id"], name], most) for name, most in asked if most is not None]
        for sent, most in counted:
            while sent and sent[0] <= now - 1:
                sent.popleft()
            if len(sent) >= most:
                # Telegram names whole seconds, never none.
                wait = max(math.ceil(sent[0] + 1 - now), 1)
                raise Fault(429, f"Too Many Requests: retry after {wait}", retry_after=wait)
        for sent, _ in counted:
            sent.append(now)
