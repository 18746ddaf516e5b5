"""Bots, what people wrote to them, and what they wrote back."""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from controller.core import clock, ids
from controller.sandbox.documents import Document, Documents
from controller.sandbox.telegram.faults import Fault, bad_request

FIRST_BOT = 7_000_000_001
FIRST_UPDATE = 100_000_001
TOKEN = re.compile(r"(\d{6,12}):[A-Za-z0-9_-]{35}")
USERNAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,28}bot", re.IGNORECASE)
_COMMAND = re.compile(r"/[A-Za-z0-9_]{1,32}(@\w+)?")


class Bells:
    """Wakes those who wait for something of a name."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    def ring(self, name: str) -> None:
        """Wake everybody who listens to ``name``."""
        for bell in self._waiting[name]:
            bell.set()

    @contextmanager
    def listening(self, name: str) -> Iterator[asyncio.Event]:
        """An event that is set at each ring."""
        bell = asyncio.Event()
        self._waiting[name].add(bell)
        try:
            yield bell
        finally:
            self._waiting[name].discard(bell)


class Town:
    """All bots and chats. ``bells`` ring ``updates:<bot>``, ``sent:<bot>``, and ``webhooks`` for the pusher."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.bells = Bells()

    def create(self, username: str, name: str) -> Document:
        """A new bot with a token of its own. Raises Fault for a name that Telegram would not take."""
        if not USERNAME.fullmatch(username):
            raise bad_request("username must be 5-32 letters, digits and underscores and end in bot")
        if any(bot["username"].lower() == username.lower() for bot in self.documents.find("bot")):
            raise bad_request("username is already taken")
        number = self.documents.next("bot", FIRST_BOT)
        bot: Document = {
            "id": number,
            "username": username,
            "name": name,
            "token": f"{number}:{secrets.token_urlsafe(26)}",
            "revoked": False,
            "webhook": {"url": ""},
            "allowed_updates": [],
            "commands": {},
            "texts": {},
        }
        return self.save(bot)

    def save(self, bot: Document) -> Document:
        """Write the bot; return it."""
        self.documents.put("bot", str(bot["id"]), bot)
        return bot

    def bot(self, key: str) -> Document:
        """The bot with this id, revoked or not. Raises Fault (404)."""
        found = self.documents.get("bot", key)
        if found is None:
            raise Fault(404, "Not Found")
        return found

    def by_token(self, token: str) -> Document:
        """The token's bot. Raises Fault: 404 for what is no token, 401 for an unknown or a revoked one."""
        shape = TOKEN.fullmatch(token)
        if shape is None:
            raise Fault(404, "Not Found")
        bot = self.documents.get("bot", shape[1])
        if bot is None or bot["revoked"] or not hmac.compare_digest(bot["token"], token):
            raise Fault(401, "Unauthorized")
        return bot

    def receive(self, bot: Document, sender: Document, text: str) -> tuple[int, int]:
        """A person's private message to the bot; its update id and message id.

        No update is made (id 0) if the bot did not allow messages.
        """
        chat = {name: sender[name] for name in ("id", "first_name") if name in sender} | {"type": "private"}
        self.documents.put(_chats(bot), str(sender["id"]), {"chat": chat, "user": sender, "blocked": False})
        message: Document = {
            "message_id": self.documents.next(f"message:{bot['id']}"),
            "from": sender,
            "chat": chat,
            "date": int(clock.now().timestamp()),
            "text": text,
        }
        command = _COMMAND.match(text)
        if command:
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": command.end()}]
        self.documents.put(_incoming(bot), str(message["message_id"]), message)
        return self._push(bot, "message", message), message["message_id"]

    def press(self, bot: Document, user_id: int, message_id: int, data: str) -> tuple[int, str]:
        """A person presses a button under the bot's message; the update's id and the query's id.

        Raises Fault if the message has no such button.
        """
        message = self.sent(bot, message_id)
        rows = ((message or {}).get("reply_markup") or {}).get("inline_keyboard", [])
        if message is None or not any(button.get("callback_data") == data for row in rows for button in row):
            raise bad_request("no such button")
        sender = self.acquaintance(bot, user_id)["user"]
        query: Document = {"id": ids.new(), "from": sender, "chat_instance": str(user_id), "data": data}
        self.documents.put(_queries(bot), query["id"], {})
        return self._push(bot, "callback_query", query | {"message": shown(bot, message)}), query["id"]

    def answer(self, bot: Document, query_id: str) -> None:
        """The press is answered. Raises Fault for one that is unknown or was answered before."""
        if not self.documents.remove(_queries(bot), query_id):
            raise bad_request("query is too old and response timeout expired or query ID is invalid")

    def acquaintance(self, bot: Document, given: object) -> Document:
        """``{chat, user, blocked}`` of a person who once wrote to the bot. Raises Fault for anybody else."""
        if given is None or given == "":
            raise bad_request("chat_id is empty")
        found = self.documents.get(_chats(bot), str(given))
        if found is None:
            raise bad_request("chat not found")
        return found

    def block(self, bot: Document, user_id: int, *, blocked: bool) -> None:
        """The person blocks the bot, or lets it write again."""
        found = self.acquaintance(bot, user_id)
        self.documents.put(_chats(bot), str(user_id), found | {"blocked": blocked})

    def chat(self, bot: Document, given: object) -> Document:
        """The chat with this id (number or text). Raises Fault if its person never wrote, or blocked the bot."""
        found = self.acquaintance(bot, given)
        if found["blocked"]:
            raise Fault(403, "Forbidden: bot was blocked by the user")
        chat: Document = found["chat"]
        return chat

    def send(self, bot: Document, message: Document) -> Document:
        """Write a message of the bot; return it with its new id."""
        message = {"message_id": self.documents.next(f"message:{bot['id']}")} | message
        return self.rewrite(bot, message)

    def sent(self, bot: Document, message_id: object) -> Document | None:
        """The bot's own message, unless it was deleted."""
        found = self.documents.get(_messages(bot), str(message_id))
        return None if found is None or found["deleted"] else found

    def delete(self, bot: Document, chat: Document, message_id: object) -> None:
        """The message, the bot's or the person's, is gone. Raises Fault if it was not there."""
        message = self.sent(bot, message_id)
        if message is not None and message["chat"]["id"] == chat["id"]:
            self.rewrite(bot, message | {"deleted": True})
        elif not self.documents.remove(_incoming(bot), str(message_id)):
            raise bad_request("message to delete not found")

    def rewrite(self, bot: Document, message: Document) -> Document:
        """Write a changed message of the bot; return it."""
        self.documents.put(_messages(bot), str(message["message_id"]), message)
        self.bells.ring(f"sent:{bot['id']}")
        return message

    def messages(self, bot: Document, after: int) -> list[Document]:
        """The bot's messages with a higher id, oldest first, deleted ones included."""
        return self.documents.find(_messages(bot), above=("message_id", after))

    def pending(self, bot: Document) -> list[Document]:
        """Updates that were not confirmed yet, oldest first."""
        return self.documents.find(_updates(bot))

    def confirm(self, bot: Document, offset: int) -> None:
        """Forget the updates below ``offset``; a negative one keeps that many of the newest."""
        waiting = self.pending(bot)
        gone = waiting[:offset] if offset < 0 else [one for one in waiting if one["update_id"] < offset]
        for update in gone:
            self.documents.remove(_updates(bot), str(update["update_id"]))

    def _push(self, bot: Document, kind: str, content: Document) -> int:
        if bot["allowed_updates"] and kind not in bot["allowed_updates"]:
            return 0
        number = self.documents.next(f"update:{bot['id']}", FIRST_UPDATE)
        self.documents.put(_updates(bot), str(number), {"update_id": number, kind: content})
        self.bells.ring(f"updates:{bot['id']}")
        self.bells.ring("webhooks")
        return number


def user(bot: Document) -> Document:
    """The bot as a Telegram user."""
    return {"id": bot["id"], "is_bot": True, "first_name": bot["name"], "username": bot["username"]}


def shown(bot: Document, message: Document) -> Document:
    """A message of the bot in Telegram's form."""
    always = {name: message[name] for name in ("message_id", "chat", "date", "text")}
    optional = ("entities", "edit_date", "reply_markup")
    return always | {"from": user(bot)} | {name: message[name] for name in optional if message.get(name)}


def _updates(bot: Document) -> str:
    return f"update:{bot['id']}"


def _messages(bot: Document) -> str:
    return f"message:{bot['id']}"


def _incoming(bot: Document) -> str:
    return f"incoming:{bot['id']}"


def _queries(bot: Document) -> str:
    return f"query:{bot['id']}"


def _chats(bot: Document) -> str:
    return f"chat:{bot['id']}"
