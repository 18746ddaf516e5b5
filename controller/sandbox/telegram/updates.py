"""What a bot has yet to hear of: kept until it is confirmed, under ids that never come twice."""

from __future__ import annotations

import asyncio

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.telegram.bots import Town

FIRST_UPDATE = 100_000_001
UNASKED = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
"""Kinds that come only to a bot that names them."""
_OURS = "_mischief"
"""The field with what a test ordered for one update; no bot sees it."""


def push(town: Town, bot: Document, kind: str, content: Document) -> int:
    """A new update of the bot; its id, or 0 if the bot does not want that kind."""
    wanted = bot["allowed_updates"]
    if (kind not in wanted) if wanted else (kind in UNASKED):
        return 0
    number = town.documents.next(f"update:{bot['id']}", FIRST_UPDATE)
    ordered = _ordered(town, bot)
    if ordered.get("lost"):
        return number
    update = {"update_id": number, kind: content}
    kept = update | ({_OURS: ordered} if ordered else {})
    town.documents.put(_kind(bot), str(number), kept)
    if (left := _due_in(kept)) > 0:
        _ring_later(town, bot, left)
    else:
        ring(town, bot)
    return number


def ring(town: Town, bot: Document) -> None:
    """Wake whoever fetches or posts the bot's updates."""
    town.bells.ring(f"updates:{bot['id']}")
    # The pusher looks at every bot, so it is not woken for one that polls.
    if town.bot(str(bot["id"]))["webhook"]["url"]:
        town.bells.ring("webhooks")


def pending(town: Town, bot: Document) -> list[Document]:
    """Updates that were not confirmed yet, oldest first; a delayed one holds up those behind it."""
    ready = []
    for update in town.documents.find(_kind(bot)):
        if _due_in(update) > 0:
            break
        ready.append({name: value for name, value in update.items() if name != _OURS})
    return ready


def waiting(town: Town, bot: Document) -> int:
    """How many updates were not confirmed yet, delayed ones included."""
    return len(town.documents.find(_kind(bot)))


def arm(town: Town, bot: Document) -> None:
    """Whoever waits is woken as each delayed update falls due; asked for at the start, as timers die with a process."""
    for update in town.documents.find(_kind(bot)):
        if (left := _due_in(update)) > 0:
            _ring_later(town, bot, left)


def confirm(town: Town, bot: Document, offset: int) -> None:
    """Forget the updates below ``offset``; a negative one keeps that many of the newest."""
    kept = town.documents.find(_kind(bot))
    gone = kept[:offset] if offset < 0 else [one for one in kept if one["update_id"] < offset]
    for update in gone:
        again = update.get(_OURS, {}).get("again", 0)
        if again:
            repeated = update | {_OURS: update[_OURS] | {"again": again - 1}}
            town.documents.put(_kind(bot), str(update["update_id"]), repeated)
        else:
            town.documents.remove(_kind(bot), str(update["update_id"]))


def forget(town: Town, bot: Document) -> None:
    """Drop everything that waits."""
    town.documents.clear(_kind(bot))


def order(town: Town, bot: Document, *, drop: int, duplicate: int, delay_seconds: float) -> None:
    """The bot's next ``drop`` updates get lost; then ``duplicate`` come twice; all are held ``delay_seconds``.

    A new order replaces the one before.
    """
    ordered = {"drop": drop, "duplicate": duplicate, "delay_seconds": delay_seconds}
    town.documents.put("mischief", str(bot["id"]), ordered)


def _ordered(town: Town, bot: Document) -> Document:
    order = town.documents.get("mischief", str(bot["id"]))
    if order is None:
        return {}
    spent = next((name for name in ("drop", "duplicate") if order[name] > 0), None)
    if spent:
        town.documents.put("mischief", str(bot["id"]), order | {spent: order[spent] - 1})
    if spent == "drop":
        return {"lost": True}
    again = {"again": 1} if spent else {}
    held = order["delay_seconds"]
    return again | ({"due_at": clock.now().timestamp() + held} if held else {})


def _ring_later(town: Town, bot: Document, seconds: float) -> None:
    # A little late: the loop's clock and the wall's differ, and an early ring would be the last.
    asyncio.get_running_loop().call_later(seconds + 0.02, ring, town, bot)


def _due_in(update: Document) -> float:
    due: float = update.get(_OURS, {}).get("due_at", 0.0)
    return due - clock.now().timestamp() if due else 0.0


def _kind(bot: Document) -> str:
    return f"update:{bot['id']}"
