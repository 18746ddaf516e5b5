"""The Bot API's methods, except ``getUpdates``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.telegram import bots, formatting
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import bad_request
from controller.sandbox.telegram.params import Params

LONGEST_TEXT = 4096
ACTIONS = frozenset(
    {
        "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
        "choose_sticker", "find_location", "record_video_note", "upload_video_note",
    }
)  # fmt: skip
TEXTS = {"Name": "name", "Description": "description", "ShortDescription": "short_description"}
"""``setMy…`` and ``getMy…`` pairs: one text for each language, falling back to the one without a language."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ANSWERED_TRUE = (
    "pinChatMessage",
    "sendMessageDraft",
    "setChatMenuButton",
    "setMessageReaction",
    "setMyDefaultAdministratorRights",
    "unpinAllChatMessages",
    "unpinChatMessage",
)
"""Methods that answer true and change nothing here."""

Method = Callable[[Town, Document, Params], Any]


def get_me(_: Town, bot: Document, __: Params) -> Document:
    """The bot as ``getMe`` shows it."""
    switches = ("can_read_all_group_messages", "supports_inline_queries", "can_connect_to_business", "has_main_web_app")
    return bots.user(bot) | {"can_join_groups": True} | dict.fromkeys(switches, False)


def set_webhook(town: Town, bot: Document, params: Params) -> bool:
    """Updates are posted to ``url`` from now on, or wait for getUpdates if it is empty.

    Raises Fault for an address without TLS, unless it is on this machine.
    """
    url = params.text("url") or ""
    target = urlsplit(url)
    if url and target.scheme != "https" and target.hostname not in LOOPBACK:
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
    bot["webhook"] = {"url": url, "secret_token": params.text("secret_token")}
    allowed = params.json("allowed_updates")
    if isinstance(allowed, list):
        bot["allowed_updates"] = allowed
    town.save(bot)
    return _forget_pending(town, bot, params)


def delete_webhook(town: Town, bot: Document, params: Params) -> bool:
    """No webhook any more, and no pending updates if asked so."""
    town.save(bot | {"webhook": {"url": ""}})
    return _forget_pending(town, bot, params)


def get_webhook_info(town: Town, bot: Document, _: Params) -> Document:
    """Where updates go, how many wait, and the last failure."""
    told = {name: value for name, value in bot["webhook"].items() if name != "secret_token"}
    return told | {"has_custom_certificate": False, "pending_update_count": len(town.pending(bot))}


def send_message(town: Town, bot: Document, params: Params) -> Document:
    """The bot's new message in a private chat."""
    chat = town.chat(bot, params.get("chat_id"))
    written = _written(params)
    answered = params.json("reply_parameters") or {}
    message = town.send(
        bot,
        {
            "chat": chat,
            "date": int(clock.now().timestamp()),
            **written,
            "reply_markup": params.json("reply_markup"),
            "reply_to": answered.get("message_id") or params.get("reply_to_message_id"),
            "edited": False,
            "deleted": False,
        },
    )
    return bots.shown(bot, message)


def edit_message_text(town: Town, bot: Document, params: Params) -> Document:
    """The bot's message with another text."""
    message = _own_message(town, bot, params)
    written = _written(params) | {"reply_markup": params.json("reply_markup")}
    if all(message[name] == value for name, value in written.items()):
        raise bad_request(
            "message is not modified: specified new message content and reply markup are exactly the same as a"
            " current content and reply markup of the message"
        )
    edited = message | written | {"edited": True, "edit_date": int(clock.now().timestamp())}
    return bots.shown(bot, town.rewrite(bot, edited))


def edit_message_reply_markup(town: Town, bot: Document, params: Params) -> Document:
    """The bot's message with other buttons, or without any."""
    message = _own_message(town, bot, params)
    edited = message | {"reply_markup": params.json("reply_markup"), "edit_date": int(clock.now().timestamp())}
    return bots.shown(bot, town.rewrite(bot, edited))


def delete_message(town: Town, bot: Document, params: Params) -> bool:
    """The message, the bot's or the person's, is gone."""
    town.delete(bot, town.chat(bot, params.get("chat_id")), params.get("message_id"))
    return True


def answer_callback_query(town: Town, bot: Document, params: Params) -> bool:
    """The pressed button stops spinning."""
    town.answer(bot, params.text("callback_query_id") or "")
    return True


def send_chat_action(town: Town, bot: Document, params: Params) -> bool:
    """The person sees that the bot is busy."""
    town.chat(bot, params.get("chat_id"))
    if params.text("action") not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    return True


def set_my_commands(town: Town, bot: Document, params: Params) -> bool:
    """The commands of one scope and language."""
    commands = params.json("commands")
    if not isinstance(commands, list) or len(commands) > 100:
        raise bad_request("can't parse commands JSON object")
    bot["commands"][_scope(params)] = commands
    town.save(bot)
    return True


def delete_my_commands(town: Town, bot: Document, params: Params) -> bool:
    """That scope and language has no commands any more."""
    bot["commands"].pop(_scope(params), None)
    town.save(bot)
    return True


def get_my_commands(_: Town, bot: Document, params: Params) -> list[Document]:
    """The commands of one scope and language."""
    found: list[Document] = bot["commands"].get(_scope(params), [])
    return found


def get_chat(town: Town, bot: Document, params: Params) -> Document:
    """The private chat."""
    gifts = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")
    about = {"accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": dict.fromkeys(gifts, True)}
    return town.chat(bot, params.get("chat_id")) | about


def _text_setter(field: str) -> Method:
    def setter(town: Town, bot: Document, params: Params) -> bool:
        language, text = params.text("language_code") or "", params.text(field) or ""
        bot["texts"][f"{field} {language}"] = text
        if field == "name" and text and not language:
            bot["name"] = text
        town.save(bot)
        return True

    return setter


def _text_getter(field: str) -> Method:
    def getter(_: Town, bot: Document, params: Params) -> Document:
        unset = bot["name"] if field == "name" else ""
        own = bot["texts"].get(f"{field} {params.text('language_code') or ''}")
        return {field: own or bot["texts"].get(f"{field} ") or unset}

    return getter


def _accept(_: Town, __: Document, ___: Params) -> bool:
    return True


def _forget_pending(town: Town, bot: Document, params: Params) -> bool:
    if (params.text("drop_pending_updates") or "").lower() == "true":
        for update in town.pending(bot)[-1:]:
            town.confirm(bot, update["update_id"] + 1)
    town.bells.ring("webhooks")
    return True


def _written(params: Params) -> Document:
    source = params.text("text") or ""
    mode = params.text("parse_mode") or None
    text, entities = formatting.trimmed(*formatting.rendered(source, mode))
    if not text:
        raise bad_request("message text is empty")
    if formatting.units(text) > LONGEST_TEXT:
        raise bad_request("message is too long")
    return {"text": text, "entities": entities, "source": source, "parse_mode": mode}


def _own_message(town: Town, bot: Document, params: Params) -> Document:
    chat = town.chat(bot, params.get("chat_id"))
    message = town.sent(bot, params.get("message_id"))
    if message is None or message["chat"]["id"] != chat["id"]:
        raise bad_request("message to edit not found")
    return message


def _scope(params: Params) -> str:
    scope = params.json("scope") or {"type": "default"}
    return json.dumps([scope, params.text("language_code") or ""], sort_keys=True)


METHODS: dict[str, Method] = {
    "getMe": get_me,
    "setWebhook": set_webhook,
    "deleteWebhook": delete_webhook,
    "getWebhookInfo": get_webhook_info,
    "sendMessage": send_message,
    "editMessageText": edit_message_text,
    "editMessageReplyMarkup": edit_message_reply_markup,
    "answerCallbackQuery": answer_callback_query,
    "deleteMessage": delete_message,
    "sendChatAction": send_chat_action,
    "setMyCommands": set_my_commands,
    "deleteMyCommands": delete_my_commands,
    "getMyCommands": get_my_commands,
    "getChat": get_chat,
    **{f"setMy{suffix}": _text_setter(field) for suffix, field in TEXTS.items()},
    **{f"getMy{suffix}": _text_getter(field) for suffix, field in TEXTS.items()},
    **dict.fromkeys(ANSWERED_TRUE, _accept),
}
"""By the Bot API's spelling; Telegram itself ignores the case."""
