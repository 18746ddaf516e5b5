"""What people wrote to bots and what bots wrote back: one numbered history for each bot."""

from __future__ import annotations

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.telegram import bots, people, spotting, updates
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import bad_request

HISTORY = 200
"""How many messages back a person can look."""


def receive(town: Town, bot: Document, sender: Document, content: Document) -> tuple[int, int]:
    """A person's private message to the bot, with ``content`` in Telegram's form; its update id and message id.

    No update is made (id 0) if the bot did not allow messages. Raises Fault (403) if the bot is kept from the person.
    """
    message: Document = {
        "message_id": town.documents.next(f"message:{bot['id']}"),
        "from": sender,
        "chat": people.meet(town, bot, sender),
        "date": int(clock.now().timestamp()),
        **content,
    }
    for text, entities in (("text", "entities"), ("caption", "caption_entities")):
        if found := spotting.spotted(message.get(text, ""), message.get(entities, [])):
            message[entities] = found
    town.documents.put(_incoming(bot), str(message["message_id"]), message)
    _ring(town, bot, message)
    return updates.push(town, bot, "message", message), message["message_id"]


def send(town: Town, bot: Document, message: Document) -> Document:
    """Write a message of the bot; return it with its new id."""
    town.typing.end(bot, message["chat"]["id"])
    numbered = {"message_id": town.documents.next(f"message:{bot['id']}"), "date": int(clock.now().timestamp())}
    return rewrite(town, bot, numbered | {"edited": False, "deleted": False} | message)


def sent(town: Town, bot: Document, message_id: object) -> Document | None:
    """The bot's own message, unless it was deleted."""
    found = town.documents.get(_sent(bot), str(message_id))
    return None if found is None or found["deleted"] else found


def written(town: Town, bot: Document, chat_id: int, message_id: object) -> Document | None:
    """The message in this chat, the bot's or the person's, in Telegram's form; None if there is none."""
    own = sent(town, bot, message_id)
    found = shown(town, bot, own) if own else town.documents.get(_incoming(bot), str(message_id))
    return found if found and found["chat"]["id"] == chat_id else None


def delete(town: Town, bot: Document, chat: Document, message_id: object) -> None:
    """The message, the bot's or the person's, is gone. Raises Fault if it was not there."""
    if written(town, bot, chat["id"], message_id) is None:
        raise bad_request("message to delete not found")
    own = sent(town, bot, message_id)
    if own is not None:
        rewrite(town, bot, own | {"deleted": True})
    else:
        town.documents.remove(_incoming(bot), str(message_id))
        town.bells.ring(f"chat:{bot['id']}:{chat['id']}")


def rewrite(town: Town, bot: Document, message: Document) -> Document:
    """Write a changed message of the bot; return it."""
    town.documents.put(_sent(bot), str(message["message_id"]), message)
    _ring(town, bot, message)
    return message


def sent_after(town: Town, bot: Document, after: int) -> list[Document]:
    """The bot's messages with a higher id, oldest first, deleted ones included."""
    return town.documents.find(_sent(bot), above=("message_id", after))


def history(town: Town, bot: Document, chat_id: int, *, limit: int = HISTORY) -> list[Document]:
    """The chat's newest messages, oldest first, in Telegram's form; ``_own`` holds what was kept of the bot's."""
    where = {"chat.id": chat_id}
    own = town.documents.find(_sent(bot), where, newest_first=True, limit=limit)
    theirs = town.documents.find(_incoming(bot), where, newest_first=True, limit=limit)
    seen = theirs + [shown(town, bot, one) | {"_own": one} for one in own if not one["deleted"]]
    newest = sorted(seen, key=lambda message: int(message["message_id"]))[-limit:]
    return [one | {"_reaction": reaction(town, bot, one["message_id"])} for one in newest]


def react(town: Town, bot: Document, message: Document, emoji: str | None) -> None:
    """The bot's reaction to the message is ``emoji``, or none."""
    key = str(message["message_id"])
    if emoji is None:
        town.documents.remove(_reactions(bot), key)
    else:
        town.documents.put(_reactions(bot), key, {"emoji": emoji})
    _ring(town, bot, message)


def reaction(town: Town, bot: Document, message_id: int) -> str | None:
    """The bot's reaction to the message."""
    found = town.documents.get(_reactions(bot), str(message_id))
    return found["emoji"] if found else None


def shown(town: Town, bot: Document, message: Document, *, with_reply: bool = True) -> Document:
    """A message of the bot in Telegram's form."""
    told = {name: message[name] for name in ("message_id", "chat", "date")} | {"from": bots.user(bot)}
    media = message.get("media") or {}
    text, entities = ("caption", "caption_entities") if media else ("text", "entities")
    told |= media | ({text: message["text"]} if message["text"] else {})
    told |= {entities: message["entities"]} if message.get("entities") else {}
    told |= {name: message[name] for name in ("edit_date", "media_group_id") if message.get(name)}
    markup = message.get("reply_markup") or {}
    if "inline_keyboard" in markup:  # other keyboards belong to the chat, not to the message
        told["reply_markup"] = markup
    if with_reply and message.get("reply_to"):
        told |= _reply(town, bot, message)
    return told


def _reply(town: Town, bot: Document, message: Document) -> Document:
    own = sent(town, bot, message["reply_to"])
    found = (
        shown(town, bot, own, with_reply=False) if own else town.documents.get(_incoming(bot), str(message["reply_to"]))
    )
    return {"reply_to_message": found} if found else {}


def _ring(town: Town, bot: Document, message: Document) -> None:
    town.bells.ring(f"sent:{bot['id']}", f"chat:{bot['id']}:{message['chat']['id']}")


def _sent(bot: Document) -> str:
    return f"message:{bot['id']}"


def _incoming(bot: Document) -> str:
    return f"incoming:{bot['id']}"


def _reactions(bot: Document) -> str:
    return f"reaction:{bot['id']}"
