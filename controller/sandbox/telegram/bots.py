"""Bots and their tokens: what BotFather keeps."""

from __future__ import annotations

import hmac
import re
import secrets
from pathlib import Path

from controller.sandbox.documents import Document, Documents
from controller.sandbox.telegram.actions import Typing
from controller.sandbox.telegram.bells import Bells
from controller.sandbox.telegram.faults import Fault, bad_request
from controller.sandbox.telegram.limits import Limits

FIRST_BOT = 7_000_000_001
TOKEN = re.compile(r"(\d{6,12}):[A-Za-z0-9_-]{35}")
USERNAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,28}bot", re.IGNORECASE)
LONGEST_NAME = 64
_NEW: Document = {
    "revoked": False,
    "webhook": {"url": ""},
    "allowed_updates": [],
    "commands": {},
    "texts": {},
    "can_manage_bots": False,
    "owner": None,
    "manager": None,
    "access": {"is_access_restricted": False, "added": []},
}
"""What a bot has before anybody changes it; a bot of an older data folder gets what it lacks."""


class Town:
    """All of this Telegram: what is kept, who waits, and what only matters while the process lives."""

    def __init__(self, documents: Documents, files: Path) -> None:
        """``files``: the folder of what was uploaded."""
        self.documents = documents
        self.files = files
        self.bells = Bells()
        self.limits = Limits(documents)
        self.typing = Typing(self.bells)

    def create(self, username: str, name: str, **more: object) -> Document:
        """A new bot with a token of its own; ``more`` replaces what a new bot has.

        Raises Fault for a name that Telegram would not take.
        """
        if not USERNAME.fullmatch(username):
            raise bad_request("username must be 5-32 letters, digits and underscores and end in bot")
        if not 1 <= len(name.strip()) <= LONGEST_NAME:
            raise bad_request(f"name must be 1-{LONGEST_NAME} characters")
        if self.named(username) is not None:
            raise bad_request("username is already taken")
        number = self.documents.next("bot", FIRST_BOT)
        given: Document = {"id": number, "username": username, "name": name.strip(), "token": _token(number)}
        return self.save(_NEW | given | more)

    def save(self, bot: Document) -> Document:
        """Write the bot; return it."""
        self.documents.put("bot", str(bot["id"]), bot)
        return bot

    def bots(self) -> list[Document]:
        """Every bot, the oldest first, revoked ones included."""
        return [_NEW | bot for bot in self.documents.find("bot")]

    def bot(self, key: str) -> Document:
        """The bot with this id, revoked or not. Raises Fault (404)."""
        found = self.documents.get("bot", key)
        if found is None:
            raise Fault(404, "Not Found")
        return _NEW | found

    def named(self, username: str) -> Document | None:
        """The bot with this username, whatever its case, or None."""
        wanted = username.removeprefix("@").lower()
        return next((bot for bot in self.bots() if bot["username"].lower() == wanted), None)

    def by_token(self, token: str) -> Document:
        """The token's bot. Raises Fault: 404 for what is no token, 401 for an unknown or a revoked one."""
        shape = TOKEN.fullmatch(token)
        if shape is None:
            raise Fault(404, "Not Found")
        bot = self.documents.get("bot", shape[1])
        if bot is None or bot["revoked"] or not hmac.compare_digest(bot["token"], token):
            raise Fault(401, "Unauthorized")
        return _NEW | bot

    def rotate(self, bot: Document) -> Document:
        """The bot with a new token; the old one works no more, open polls included."""
        changed = self.save(bot | {"token": _token(bot["id"]), "revoked": False})
        self.bells.ring(f"updates:{bot['id']}")
        return changed

    def revoke(self, bot: Document) -> Document:
        """The bot without a token that works, open polls included."""
        changed = self.save(bot | {"revoked": True})
        self.bells.ring(f"updates:{bot['id']}")
        return changed


def user(bot: Document) -> Document:
    """The bot as a Telegram user."""
    return {"id": bot["id"], "is_bot": True, "first_name": bot["name"], "username": bot["username"]}


def _token(number: int) -> str:
    return f"{number}:{secrets.token_urlsafe(26)}"
