"""Bots that a person makes for a manager bot, which may then fetch and replace their tokens (Bot API 9.6)."""

from __future__ import annotations

from controller.sandbox.documents import Document
from controller.sandbox.telegram import bots, buttons, messages, people, updates
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import bad_request
from controller.sandbox.telegram.params import Params

MOST_ADDED = 10


def create(
    town: Town, manager: Document, owner: Document, username: str, name: str, request_id: int | None = None
) -> Document:
    """A new bot of the person's that the manager manages; the manager hears of it.

    With ``request_id`` it was made by the manager's keyboard button, and the chat shows it as well. Raises Fault if
    the manager manages no bots, for a name that Telegram would not take, and for a button that is not there.
    """
    if not manager["can_manage_bots"] or manager["revoked"]:
        raise bad_request("MANAGER_PERMISSION_MISSING")
    if request_id is not None:
        buttons.offered(town, manager, owner["id"], request_id, "request_managed_bot")
    made = town.create(username, name, owner=owner["id"], manager=manager["id"])
    _tell(town, made)
    if request_id is not None:
        messages.receive(town, manager, owner, {"managed_bot_created": {"bot": bots.user(made)}})
    return made


def change_owner(town: Town, bot: Document, owner: Document) -> Document:
    """The bot belongs to somebody else; its manager hears of it."""
    changed = town.save(bot | {"owner": owner["id"]})
    _tell(town, changed)
    return changed


def rotate(town: Town, bot: Document) -> Document:
    """The bot with a new token; its manager, if any, hears that there is one."""
    changed = town.rotate(bot)
    _tell(town, changed)
    return changed


def get_managed_bot_token(town: Town, bot: Document, params: Params) -> str:
    """The token of a bot that this one manages."""
    token: str = _managed(town, bot, params)["token"]
    return token


def replace_managed_bot_token(town: Town, bot: Document, params: Params) -> str:
    """A new token of a bot that this one manages; the old one works no more."""
    token: str = rotate(town, _managed(town, bot, params))["token"]
    return token


def get_managed_bot_access_settings(town: Town, bot: Document, params: Params) -> Document:
    """Who may write to a bot that this one manages."""
    access = _managed(town, bot, params)["access"]
    if not access["is_access_restricted"]:
        return {"is_access_restricted": False}
    return {"is_access_restricted": True, "added_users": [people.person(town, one) for one in access["added"]]}


def set_managed_bot_access_settings(town: Town, bot: Document, params: Params) -> bool:
    """Only the owner and the added people may write to the managed bot, or everybody may."""
    managed, restricted = _managed(town, bot, params), params.flag("is_access_restricted")
    added = (params.json("added_user_ids") or []) if restricted else []
    if not isinstance(added, list) or len(added) > MOST_ADDED:
        raise bad_request("added_user_ids must be an Array of at most 10 users")
    known = [people.person(town, one)["id"] for one in added]
    town.save(managed | {"access": {"is_access_restricted": restricted, "added": known}})
    return True


def _managed(town: Town, bot: Document, params: Params) -> Document:
    number = params.number("user_id", 0)
    found = town.documents.get("bot", str(number))
    if found is None or found.get("manager") != bot["id"]:
        raise bad_request("BOT_INVALID")
    return town.bot(str(number))


def _tell(town: Town, bot: Document) -> None:
    if bot["manager"] is None:
        return
    content = {"user": people.person(town, bot["owner"]), "bot": bots.user(bot)}
    updates.push(town, town.bot(str(bot["manager"])), "managed_bot", content)
