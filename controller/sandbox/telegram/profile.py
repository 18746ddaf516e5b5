"""The methods about the bot itself and about those to whom it talks."""

from __future__ import annotations

import json
import re
from typing import Any

from controller.sandbox.documents import Document
from controller.sandbox.telegram import bots, people
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.calls import Method
from controller.sandbox.telegram.faults import bad_request
from controller.sandbox.telegram.params import Params

TEXTS = {"Name": "name", "Description": "description", "ShortDescription": "short_description"}
"""``setMy…`` and ``getMy…`` pairs: one text for each language, falling back to the one without a language."""
_LONGEST = {"name": 64, "description": 512, "short_description": 120}
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")


def get_me(_: Town, bot: Document, __: Params) -> Document:
    """The bot as ``getMe`` shows it."""
    switches = ("can_read_all_group_messages", "supports_inline_queries", "can_connect_to_business", "has_main_web_app")
    known = bots.user(bot) | {"can_join_groups": True} | dict.fromkeys(switches, False)
    return known | {"can_manage_bots": bot["can_manage_bots"]}


def set_my_commands(town: Town, bot: Document, params: Params) -> bool:
    """The commands of one scope and language. Raises Fault for a name or description that Telegram refuses."""
    commands = params.json("commands")
    if not isinstance(commands, list) or len(commands) > 100 or not all(isinstance(one, dict) for one in commands):
        raise bad_request("can't parse commands JSON object")
    for one in commands:
        if not _COMMAND.fullmatch(str(one.get("command", "")).removeprefix("/").lower()):
            raise bad_request("BOT_COMMAND_INVALID")
        if not 1 <= len(str(one.get("description", ""))) <= 256:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    named = [one | {"command": str(one["command"]).removeprefix("/").lower()} for one in commands]
    bot["commands"][_scope(params.json("scope"), params.text("language_code"))] = named
    town.save(bot)
    return True


def delete_my_commands(town: Town, bot: Document, params: Params) -> bool:
    """That scope and language has no commands any more."""
    bot["commands"].pop(_scope(params.json("scope"), params.text("language_code")), None)
    town.save(bot)
    return True


def get_my_commands(_: Town, bot: Document, params: Params) -> list[Document]:
    """The commands of one scope and language."""
    key = _scope(params.json("scope"), params.text("language_code"))
    found: list[Document] = bot["commands"].get(key, [])
    return found


def commands_for(bot: Document, person: Document) -> list[Document]:
    """The commands that the person sees: the narrowest scope, and in it the person's language, comes first."""
    language = str(person.get("language_code") or "").split("-")[0]
    scopes = ({"type": "chat", "chat_id": person["id"]}, {"type": "all_private_chats"}, {"type": "default"})
    for scope in scopes:
        for code in (language, ""):
            found: list[Document] | None = bot["commands"].get(_scope(scope, code))
            if found:
                return found
    return []


def get_chat(town: Town, bot: Document, params: Params) -> Document:
    """The private chat."""
    gifts = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")
    about = {"accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": dict.fromkeys(gifts, True)}
    return people.chat(town, bot, params.get("chat_id")) | about


def get_chat_member(town: Town, bot: Document, params: Params) -> Document:
    """The person in their own private chat."""
    found = people.acquaintance(town, bot, params.get("chat_id"))
    member = found["user"] if params.text("user_id") == str(found["user"]["id"]) else None
    if params.text("user_id") == str(bot["id"]):
        member = bots.user(bot)
    if member is None:
        raise bad_request("user not found")
    return {"user": member, "status": "member"}


def get_user_profile_photos(town: Town, _: Document, params: Params) -> Document:
    """No pictures: nobody here has one."""
    people.person(town, params.number("user_id", 0))
    return {"total_count": 0, "photos": []}


def get_chat_menu_button(_: Town, bot: Document, __: Params) -> Document:
    """What the menu button opens: the commands, if there are any."""
    return {"type": "commands" if bot["commands"] else "default"}


def text_setter(field: str) -> Method:
    """The method that sets this text for a language."""

    def setter(town: Town, bot: Document, params: Params) -> bool:
        language, text = params.text("language_code") or "", params.text(field) or ""
        if len(text) > _LONGEST[field]:
            raise bad_request(f"{field} is too long")
        bot["texts"][f"{field} {language}"] = text
        if field == "name" and text and not language:
            bot["name"] = text
        town.save(bot)
        return True

    return setter


def text_getter(field: str) -> Method:
    """The method that reads this text for a language."""

    def getter(_: Town, bot: Document, params: Params) -> Document:
        return {field: told(bot, field, params.text("language_code"))}

    return getter


def told(bot: Document, field: str, language: str | None) -> str:
    """The text in this language, or the one for all languages."""
    unset = bot["name"] if field == "name" else ""
    own: str = bot["texts"].get(f"{field} {language or ''}") or bot["texts"].get(f"{field} ") or unset
    return own


def _scope(scope: Any, language: str | None) -> str:
    given = scope or {"type": "default"}
    if isinstance(given, dict) and str(given.get("chat_id", "")).lstrip("-").isdigit():
        given = given | {"chat_id": int(given["chat_id"])}
    return json.dumps([given, language or ""], sort_keys=True)
