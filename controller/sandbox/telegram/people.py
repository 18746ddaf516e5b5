"""People with a Telegram account, and which of them let which bot write."""

from __future__ import annotations

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.telegram import bots, updates
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import Fault, bad_request

_NAMES = ("id", "first_name", "last_name", "username")


def remember(town: Town, user_id: int, **about: str | None) -> Document:
    """The person as a Telegram user, with what is told ``about`` them now; what is None stays as it was.

    A new person is called Ana unless told otherwise.
    """
    known = town.documents.get("person", str(user_id)) or {"id": user_id, "is_bot": False, "first_name": "Ana"}
    person = known | {name: value for name, value in about.items() if value is not None}
    if person != known or not town.documents.get("person", str(user_id)):
        town.documents.put("person", str(user_id), person)
    return person


def person(town: Town, user_id: int) -> Document:
    """The person with this id. Raises Fault for nobody's."""
    found = town.documents.get("person", str(user_id))
    if found is None:
        raise bad_request("user not found")
    return found


def everybody(town: Town) -> list[Document]:
    """Every person, in the order of their first appearance."""
    return town.documents.find("person")


def meet(town: Town, bot: Document, sender: Document) -> Document:
    """The private chat of bot and person, open from now on: who writes lets the bot write.

    Raises Fault (403) if the bot is kept from this person.
    """
    if not may_use(bot, sender["id"]):
        raise Fault(403, "Forbidden: access to the bot is restricted by its owner")
    chat: Document = {name: sender[name] for name in _NAMES if name in sender} | {"type": "private"}
    found = town.documents.get(_chats(bot), str(sender["id"]))
    if found and found["blocked"]:
        block(town, bot, sender["id"], blocked=False)
    town.documents.put(_chats(bot), str(sender["id"]), {"chat": chat, "user": sender, "blocked": False})
    return chat


def may_use(bot: Document, user_id: int) -> bool:
    """Whether the bot's owner lets this person write to it."""
    access = bot["access"]
    return not access["is_access_restricted"] or user_id == bot["owner"] or user_id in access["added"]


def has_met(town: Town, bot: Document, user_id: int) -> bool:
    """Whether the person ever wrote to the bot."""
    return town.documents.get(_chats(bot), str(user_id)) is not None


def acquaintance(town: Town, bot: Document, given: object) -> Document:
    """``{chat, user, blocked}`` of a person who once wrote to the bot.

    Raises Fault: 400 for an id that is nobody's, 403 for a person who never pressed Start here, and for bots.
    """
    if given is None or given == "":
        raise bad_request("chat_id is empty")
    found = town.documents.get(_chats(bot), str(given))
    if found is not None:
        return found
    if town.documents.get("bot", str(given)):
        raise Fault(403, "Forbidden: bots can't send messages to bots")
    if town.documents.get("person", str(given)):
        raise Fault(403, "Forbidden: bot can't initiate conversation with a user")
    raise bad_request("chat not found")


def chat(town: Town, bot: Document, given: object) -> Document:
    """The chat with this id (number or text). Raises Fault if its person never wrote, or blocked the bot."""
    found = acquaintance(town, bot, given)
    if found["blocked"]:
        raise Fault(403, "Forbidden: bot was blocked by the user")
    opened: Document = found["chat"]
    return opened


def block(town: Town, bot: Document, user_id: int, *, blocked: bool) -> None:
    """The person blocks the bot, or lets it write again; the bot hears of the change."""
    found = acquaintance(town, bot, user_id)
    if found["blocked"] == blocked:
        return
    town.documents.put(_chats(bot), str(user_id), found | {"blocked": blocked})
    town.bells.ring(f"chat:{bot['id']}:{user_id}")
    states = [
        {"user": bots.user(bot), "status": "member"},
        {"user": bots.user(bot), "status": "kicked", "until_date": 0},
    ]
    old, new = states if blocked else reversed(states)
    change = {
        "chat": found["chat"],
        "from": found["user"],
        "date": int(clock.now().timestamp()),
        "old_chat_member": old,
        "new_chat_member": new,
    }
    updates.push(town, bot, "my_chat_member", change)


def _chats(bot: Document) -> str:
    return f"chat:{bot['id']}"
