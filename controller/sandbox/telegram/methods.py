"""The Bot API's methods, except ``getUpdates``, by Telegram's names."""

from __future__ import annotations

from typing import Any

from controller.sandbox.documents import Document
from controller.sandbox.telegram import buttons, files, managed, profile, sending, webhooks
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.calls import Method
from controller.sandbox.telegram.faults import Fault
from controller.sandbox.telegram.params import Params

ANSWERED_TRUE = (
    "close",
    "pinChatMessage",
    "sendMessageDraft",
    "setChatMenuButton",
    "setMyDefaultAdministratorRights",
    "unpinAllChatMessages",
    "unpinChatMessage",
)
"""Methods that answer true and change nothing here."""


def call(town: Town, bot: Document, name: str, params: Params) -> Any:
    """The result of the method, whose whole effect is there or none of it. Raises Fault (404) for an unknown one."""
    method = _BY_LOWER_NAME.get(name.lower())
    if method is None:
        raise Fault(404, "Not Found: method not found")
    with town.documents.transaction():
        return method(town, bot, params)


def _accept(_: Town, __: Document, ___: Params) -> bool:
    return True


METHODS: dict[str, Method] = {
    "getMe": profile.get_me,
    "setWebhook": webhooks.set_webhook,
    "deleteWebhook": webhooks.delete_webhook,
    "getWebhookInfo": webhooks.get_webhook_info,
    "sendMessage": sending.send_message,
    "sendMediaGroup": sending.send_media_group,
    "sendChatAction": sending.send_chat_action,
    "setMessageReaction": sending.set_message_reaction,
    "editMessageText": sending.edit_message_text,
    "editMessageCaption": sending.edit_message_caption,
    "editMessageReplyMarkup": sending.edit_message_reply_markup,
    "deleteMessage": sending.delete_message,
    "deleteMessages": sending.delete_messages,
    "answerCallbackQuery": buttons.answer_callback_query,
    "getFile": files.get_file,
    "setMyCommands": profile.set_my_commands,
    "deleteMyCommands": profile.delete_my_commands,
    "getMyCommands": profile.get_my_commands,
    "getChat": profile.get_chat,
    "getChatMember": profile.get_chat_member,
    "getChatMenuButton": profile.get_chat_menu_button,
    "getUserProfilePhotos": profile.get_user_profile_photos,
    "getManagedBotToken": managed.get_managed_bot_token,
    "replaceManagedBotToken": managed.replace_managed_bot_token,
    "getManagedBotAccessSettings": managed.get_managed_bot_access_settings,
    "setManagedBotAccessSettings": managed.set_managed_bot_access_settings,
    **{f"send{field.capitalize()}": sending.send_file(field) for field in files.KINDS},
    **{f"setMy{suffix}": profile.text_setter(field) for suffix, field in profile.TEXTS.items()},
    **{f"getMy{suffix}": profile.text_getter(field) for suffix, field in profile.TEXTS.items()},
    **dict.fromkeys(ANSWERED_TRUE, _accept),
}
"""By the Bot API's spelling; Telegram itself ignores the case."""
_BY_LOWER_NAME = {name.lower(): method for name, method in METHODS.items()}
