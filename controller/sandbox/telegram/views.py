"""Pages out of templates, and when a chat looks different."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.telegram import buttons, messages, people, profile, rendering, wording
from controller.sandbox.telegram.bots import Town

HERE = Path(__file__).parent
PING_SECONDS = 15.0
_DOING = {"typing": "typing", "choose_sticker": "typing"}
"""Chat actions, and the word below the bot's name; any other is a file on its way."""
_TEMPLATES = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True)


def page(request: Request, template: str, *, status: int = 200, **given: Any) -> Response:
    """The template in the browser's language."""
    words = wording.of(request.headers.get("accept-language", ""))
    content = _TEMPLATES.get_template(f"{template}.html").render(w=words, **given)
    return HTMLResponse(content, status, headers={"Vary": "Accept-Language", "Cache-Control": "no-store"})


def chat(town: Town, bot: Document, person: Document) -> Document:
    """What the templates of a chat need."""
    here = f"/chat/{bot['username']}"
    blocked = people.has_met(town, bot, person["id"]) and people.acquaintance(town, bot, person["id"])["blocked"]
    history = messages.history(town, bot, person["id"])
    action = town.typing.now(bot, person["id"])
    return {
        "bot": bot,
        "person": person,
        "here": here,
        "everybody": people.everybody(town),
        "bubbles": [rendering.bubble(message, f"{here}/files") for message in history],
        "keyboard": buttons.keyboard(history),
        "spinning": buttons.unanswered(town, bot, person["id"]),
        "notice": buttons.notice(town, bot, person["id"]),
        "commands": profile.commands_for(bot, person),
        "action": action and action[0],
        "blocked": blocked,
        "doing": "blocked_status" if blocked else _DOING.get(action[0], "busy") if action else "bot",
        "restricted": not people.may_use(bot, person["id"]),
    }


def neighbours(town: Town, person: Document) -> list[Document]:
    """The bots to which the person ever wrote, each with the ``last`` words in its chat."""
    met = [bot for bot in town.bots() if people.has_met(town, bot, person["id"])]
    return [bot | {"last": _last(town, bot, person)} for bot in met]


async def changes(town: Town, bot: Document, person: Document) -> AsyncIterator[str]:
    """Server-sent events: one at once, one at each change, and a comment now and then that keeps the line open."""
    with town.bells.listening(f"chat:{bot['id']}:{person['id']}") as bell:
        yield "event: changed\ndata: 1\n\n"
        while True:
            fades = _fades_in(town, bot, person)
            try:
                async with asyncio.timeout(PING_SECONDS if fades is None else min(fades, PING_SECONDS)):
                    await bell.wait()
            except TimeoutError:
                if fades is None or fades > PING_SECONDS:
                    yield ": still here\n\n"
                    continue
            bell.clear()
            yield "event: changed\ndata: 1\n\n"


def _fades_in(town: Town, bot: Document, person: Document) -> float | None:
    """Seconds until something on show goes away by itself."""
    action = town.typing.now(bot, person["id"])
    notice = buttons.notice(town, bot, person["id"])
    left = ([action[1]] if action else []) + ([notice["until"] - clock.now().timestamp()] if notice else [])
    return max(min(left), 0.0) + 0.05 if left else None


def _last(town: Town, bot: Document, person: Document) -> str:
    history = messages.history(town, bot, person["id"], limit=1)
    return str(history[-1].get("text") or history[-1].get("caption") or "…")[:60] if history else ""
