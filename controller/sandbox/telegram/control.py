"""BotFather below ``/_control``: bots, their tokens, who polls them and what they sent."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.sandbox.documents import Document
from controller.sandbox.telegram import bodies, buttons, managed, messages, people, updates
from controller.sandbox.telegram.faults import Fault, bad_request
from controller.sandbox.telegram.polling import Pollers, first_of

LONGEST_WAIT_SECONDS = 60
_TOLD = ("id", "username", "name", "revoked", "can_manage_bots", "owner", "manager")


async def create_bot(request: Request) -> Response:
    """A new bot: ``{token, id, username}``."""
    body = await bodies.body(request, bodies.NewBot)
    town = bodies.town(request)
    with town.documents.transaction():
        if body.owner_id is not None:
            people.remember(town, body.owner_id)
        bot = town.create(body.username, body.name, can_manage_bots=body.can_manage_bots, owner=body.owner_id)
    return JSONResponse(_with_token(bot))


async def create_managed_bot(request: Request) -> Response:
    """A person confirms a manager's suggestion: ``{id, username}``; only the manager learns the token."""
    body = await bodies.body(request, bodies.NewManagedBot)
    town = bodies.town(request)
    manager = town.named(body.manager)
    if manager is None:
        raise bad_request("MANAGER_INVALID")
    with town.documents.transaction():
        owner = people.remember(town, body.user_id)
        bot = managed.create(town, manager, owner, body.username, body.name, body.request_id)
    return JSONResponse({name: bot[name] for name in ("id", "username")})


async def list_bots(request: Request) -> Response:
    """Every bot, as ``show_bot`` tells of it."""
    return JSONResponse({"bots": [_about(request, bot) for bot in bodies.town(request).bots()]})


async def show_bot(request: Request) -> Response:
    """Who polls the bot, and what it is called."""
    return JSONResponse(_about(request, bodies.bot(request)))


async def change_bot(request: Request) -> Response:
    """Bot Management Mode is on or off, or the bot belongs to somebody else."""
    body = await bodies.body(request, bodies.Changed)
    town, bot = bodies.town(request), bodies.bot(request)
    with town.documents.transaction():
        if body.can_manage_bots is not None:
            bot = town.save(bot | {"can_manage_bots": body.can_manage_bots})
        if body.owner_id is not None:
            bot = managed.change_owner(town, bot, people.remember(town, body.owner_id))
    return JSONResponse(_about(request, bot))


async def revoke_bot(request: Request) -> Response:
    """The bot's token works no more, open polls included."""
    bodies.town(request).revoke(bodies.bot(request))
    return Response(status_code=204)


async def rotate_token(request: Request) -> Response:
    """The bot has a new token, ``{token, id, username}``; the old one works no more."""
    town = bodies.town(request)
    with town.documents.transaction():
        bot = managed.rotate(town, bodies.bot(request))
    return JSONResponse(_with_token(bot))


async def disturb(request: Request) -> Response:
    """The bot's next updates get lost, come twice or come late."""
    body = await bodies.body(request, bodies.Mischief)
    updates.order(bodies.town(request), bodies.bot(request), **body.model_dump())
    return JSONResponse({"ordered": True})


async def show_query(request: Request) -> Response:
    """A press: ``{message_id, user_id, answer}``; the answer is null while the button spins."""
    found = buttons.query(bodies.town(request), bodies.bot(request), request.path_params["query"])
    if found is None:
        raise Fault(404, "Not Found")
    return JSONResponse(found)


async def read(request: Request) -> Response:
    """The bot's messages above ``after``; with ``wait`` (seconds) as soon as there is one."""
    town, bot = bodies.town(request), bodies.bot(request)
    try:
        after = int(request.query_params.get("after", "0"))
        wait = min(float(request.query_params.get("wait", "0")), LONGEST_WAIT_SECONDS)
    except ValueError as exc:
        raise Fault(422, "after and wait must be numbers") from exc
    deadline = asyncio.get_running_loop().time() + wait
    with town.bells.listening(f"sent:{bot['id']}") as bell:
        while not (found := messages.sent_after(town, bot, after)):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await first_of(request, left, bell):
                break
            bell.clear()
    told = [{"chat_id": one["chat"]["id"], **one} for one in found]
    return JSONResponse({"messages": told})


async def read_chat(request: Request) -> Response:
    """The chat with one person, both sides, oldest first, in Telegram's form; and whether the bot is busy in it."""
    town, bot, user_id = bodies.town(request), bodies.bot(request), request.path_params["user"]
    found = people.acquaintance(town, bot, user_id)
    action = town.typing.now(bot, user_id)
    history = [
        {name: value for name, value in one.items() if not name.startswith("_")} | {"reaction": one["_reaction"]}
        for one in messages.history(town, bot, user_id)
    ]
    return JSONResponse({"blocked": found["blocked"], "action": action and action[0], "messages": history})


async def _ready(_: Request) -> Response:
    return JSONResponse({"ready": True})


def _about(request: Request, bot: Document) -> Document:
    pollers: Pollers = request.app.state.pollers
    told = {name: bot[name] for name in _TOLD}
    pending = updates.waiting(bodies.town(request), bot)
    return told | {"pending_updates": pending, "webhook_url": bot["webhook"]["url"]} | pollers.standing(bot)


def _with_token(bot: Document) -> Document:
    return {name: bot[name] for name in ("token", "id", "username")}


ROUTES = [
    Route("/_control/bots", create_bot, methods=["POST"]),
    Route("/_control/bots", list_bots, methods=["GET"]),
    Route("/_control/bots/{id}", show_bot, methods=["GET"]),
    Route("/_control/bots/{id}", change_bot, methods=["PATCH"]),
    Route("/_control/bots/{id}", revoke_bot, methods=["DELETE"]),
    Route("/_control/bots/{id}/token", rotate_token, methods=["POST"]),
    Route("/_control/bots/{id}/updates", disturb, methods=["PUT"]),
    Route("/_control/bots/{id}/messages", read, methods=["GET"]),
    Route("/_control/bots/{id}/chats/{user:int}", read_chat, methods=["GET"]),
    Route("/_control/bots/{id}/callbacks/{query}", show_query, methods=["GET"]),
    Route("/_control/managed-bots", create_managed_bot, methods=["POST"]),
    Route("/_control/ready", _ready, methods=["GET"]),
]
