"""The errors of the Bot API, in Telegram's own words and JSON."""

from __future__ import annotations

from controller.core.errors import CloudError
from controller.sandbox.documents import Document

POLLED_ELSEWHERE = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
WEBHOOK_SET = "Conflict: terminated by setWebhook request"


class Fault(CloudError):
    """Raised to answer a request with Telegram's error JSON; ``status`` is also its ``error_code``."""

    def __init__(self, status: int, description: str, *, retry_after: int | None = None) -> None:
        """``retry_after``: whole seconds, for a 429."""
        super().__init__("telegram_refused", description=description)
        self.status = status
        self.description = description
        self.retry_after = retry_after

    def body(self) -> Document:
        """The JSON answer."""
        answer: Document = {"ok": False, "error_code": self.status, "description": self.description}
        return answer if self.retry_after is None else answer | {"parameters": {"retry_after": self.retry_after}}


def bad_request(what: str) -> Fault:
    """The error for a parameter that is missing or wrong."""
    return Fault(400, f"Bad Request: {what}")
