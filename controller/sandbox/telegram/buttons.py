"""Keyboards: what a bot may put below a message or into the chat, and what a press does."""

from __future__ import annotations

import re

from controller.core import clock, ids
from controller.sandbox.documents import Document
from controller.sandbox.telegram import messages, people, updates
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import bad_request
from controller.sandbox.telegram.params import Params

LONGEST_DATA = 64
TOAST_SECONDS = 4
ALERT_SECONDS = 15
"""How long a press's answer is on show: a toast fades, an alert wants to be read."""
_ACTIONS = frozenset(
    {
        "url", "callback_data", "web_app", "login_url", "switch_inline_query", "switch_inline_query_current_chat",
        "switch_inline_query_chosen_chat", "copy_text", "callback_game", "pay",
    }
)  # fmt: skip
_KEYBOARDS = ("inline_keyboard", "keyboard", "remove_keyboard", "force_reply")
_ADDRESS = re.compile(r"(?:(?:https?|tg|ton)://|mailto:)\S+|[\w-]+(?:\.[\w-]+)+(?:/\S*)?", re.IGNORECASE)


def markup(bot: Document, params: Params) -> Document | None:
    """The call's ``reply_markup``, or None. Raises Fault for a keyboard that Telegram refuses."""
    given = params.json("reply_markup")
    if given is None or given == "" or given == {}:
        return None
    if not isinstance(given, dict) or not any(name in given for name in _KEYBOARDS):
        raise bad_request("object expected as reply markup")
    for name in ("inline_keyboard", "keyboard"):
        rows = given.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise bad_request(f"can't parse {name} JSON object")
    for row in given.get("inline_keyboard", []):
        for button in row:
            _check_inline(button)
    return given | ({"keyboard": _plain(bot, given["keyboard"])} if "keyboard" in given else {})


def press(town: Town, bot: Document, user_id: int, message_id: int, data: str) -> tuple[int, str]:
    """A person presses a button under the bot's message; the update's id and the query's id.

    Raises Fault if the message has no such button.
    """
    message = messages.sent(town, bot, message_id)
    rows = ((message or {}).get("reply_markup") or {}).get("inline_keyboard", [])
    if message is None or not any(button.get("callback_data") == data for row in rows for button in row):
        raise bad_request("no such button")
    if message["chat"]["id"] != user_id:
        raise bad_request("the message is in somebody else's chat")
    sender = people.acquaintance(town, bot, user_id)["user"]
    query: Document = {"id": ids.new(), "from": sender, "chat_instance": str(user_id), "data": data}
    asked = {"message_id": message_id, "user_id": user_id, "answer": None}
    town.documents.put(_queries(bot), query["id"], asked)
    content = query | {"message": messages.shown(town, bot, message)}
    return updates.push(town, bot, "callback_query", content), query["id"]


def answer_callback_query(town: Town, bot: Document, params: Params) -> bool:
    """The pressed button stops spinning. Raises Fault for a press that is unknown or was answered before."""
    key = params.text("callback_query_id") or ""
    asked = query(town, bot, key)
    if asked is None or asked.get("answer") is not None:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    text, address = params.text("text") or "", params.text("url")
    if len(text) > 200:
        raise bad_request("MESSAGE_TOO_LONG")
    alert = params.flag("show_alert")
    until = clock.now().timestamp() + (ALERT_SECONDS if alert else TOAST_SECONDS)
    answer = {"text": text, "show_alert": alert, "url": address, "until": until}
    town.documents.put(_queries(bot), key, asked | {"answer": answer})
    town.bells.ring(f"chat:{bot['id']}:{asked['user_id']}")
    return True


def query(town: Town, bot: Document, query_id: str) -> Document | None:
    """``{message_id, user_id, answer}`` of a press; the answer is None while the button spins."""
    return town.documents.get(_queries(bot), query_id)


def notice(town: Town, bot: Document, user_id: int) -> Document | None:
    """The newest answer to a press that is still on show, with the time (Unix seconds) ``until`` when; or None."""
    asked = town.documents.find(_queries(bot), {"user_id": user_id}, newest_first=True, limit=1)
    answer: Document | None = asked[0]["answer"] if asked else None
    if answer is None or not (answer["text"] or answer["url"]) or answer["until"] <= clock.now().timestamp():
        return None
    return answer


def unanswered(town: Town, bot: Document, user_id: int) -> list[int]:
    """Messages with a button that the person pressed and that still spins."""
    return [one["message_id"] for one in town.documents.find(_queries(bot), {"user_id": user_id, "answer": None})]


def keyboard(history: list[Document]) -> Document | None:
    """The chat's reply keyboard now, out of its messages, oldest first; None without one."""
    for at, message in reversed(list(enumerate(history))):
        given = message.get("_own", {}).get("reply_markup") or {}
        if "keyboard" in given:
            used = given.get("one_time_keyboard") and any("_own" not in later for later in history[at + 1 :])
            return None if used else given | {"message_id": message["message_id"]}
        if given.get("remove_keyboard"):
            return None
    return None


def offered(town: Town, bot: Document, user_id: int, request_id: int, kind: str) -> Document:
    """What the bot's keyboard asks under ``kind`` with this request id. Raises Fault if no button of it does."""
    shown = keyboard(messages.history(town, bot, user_id)) or {"keyboard": []}
    for row in shown["keyboard"]:
        for button in row:
            asked: Document | None = button.get(kind)
            if asked and asked["request_id"] == request_id:
                return asked
    raise bad_request("no such button")


def share(town: Town, bot: Document, user_id: int, request_id: int, shared: list[int]) -> tuple[int, int]:
    """A person picks people for a ``request_users`` button; the update's id and the message's id.

    Raises Fault if no button asks for them, or for too many.
    """
    asked = offered(town, bot, user_id, request_id, "request_users")
    if not 1 <= len(shared) <= asked.get("max_quantity", 1):
        raise bad_request("USER_PEERS_NUM_INVALID")
    chosen = []
    for one in shared:
        about = people.person(town, one)
        names = ["first_name", "last_name"] if asked.get("request_name") else []
        names += ["username"] if asked.get("request_username") else []
        chosen.append({"user_id": one} | {name: about[name] for name in names if name in about})
    content: Document = {"users_shared": {"request_id": request_id, "users": chosen, "user_ids": shared}}
    return messages.receive(town, bot, people.acquaintance(town, bot, user_id)["user"], content)


def _check_inline(button: object) -> None:
    if not isinstance(button, dict) or not button.get("text"):
        raise bad_request("inline keyboard button text must be non-empty")
    if len(_ACTIONS & button.keys()) != 1:
        raise bad_request("text buttons are unallowed in the inline keyboard")
    data = button.get("callback_data")
    if data is not None and not 1 <= len(str(data).encode()) <= LONGEST_DATA:
        raise bad_request("BUTTON_DATA_INVALID")
    address = button.get("url")
    if address is not None and not _ADDRESS.fullmatch(str(address)):
        raise bad_request(f"inline keyboard button URL '{address}' is invalid: Wrong HTTP URL")
    app = button.get("web_app")
    if app is not None and not str((app or {}).get("url", "")).startswith("https://"):
        raise bad_request("inline keyboard button Web App URL is invalid: Only HTTPS links are allowed")


def _plain(bot: Document, rows: list[list[object]]) -> list[list[Document]]:
    """A keyboard's rows with every button as an object. Raises Fault for one without text, or that asks too much."""
    kept = []
    for row in rows:
        buttons: list[Document] = [{"text": one} if isinstance(one, str) else dict(one) for one in row if one]  # type: ignore[call-overload]
        for button in buttons:
            if not button.get("text"):
                raise bad_request("keyboard button text must be non-empty")
            if "request_managed_bot" in button and not bot["can_manage_bots"]:
                raise bad_request("BOT_MANAGEMENT_DISABLED")
        kept.append(buttons)
    return kept


def _queries(bot: Document) -> str:
    return f"query:{bot['id']}"
