"""What tests and the demo steer below ``/_control``: BotFather, and people who write to bots and read them."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.sandbox.documents import Document
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import Fault
from controller.sandbox.telegram.polling import Pollers, first_of

LONGEST_WAIT_SECONDS = 60


class NewBot(BaseModel):
    """What BotFather asks for."""

    model_config = ConfigDict(extra="forbid")

    username: str
    name: str = Field(min_length=1, max_length=64)


class Written(BaseModel):
    """A person's private message."""

    model_config = ConfigDict(extra="forbid")

    user_id: int = Field(gt=0)
    text: str = Field(min_length=1, max_length=4096)
    first_name: str = "Ana"
    language_code: str | None = None


class Pressed(BaseModel):
    """A person's press of an inline button."""

    model_config = ConfigDict(extra="forbid")

    user_id: int
    message_id: int
    data: str


class Blocking(BaseModel):
    """Whether a person lets the bot write."""

    model_config = ConfigDict(extra="forbid")

    blocked: bool


class Refusal(BaseModel):
    """Calls to refuse: the next ``times`` that match; without ``bot_id`` or ``method``, any."""

    model_config = ConfigDict(extra="forbid")

    status: int = Field(ge=400, le=599)
    description: str
    retry_after: int | None = None
    bot_id: int | None = None
    method: str | None = None
    times: int = Field(default=1, ge=1)


class Ordered:
    """The refusals that a test ordered; a restart forgets them."""

    def __init__(self) -> None:
        self._refusals: list[Refusal] = []

    def add(self, refusal: Refusal) -> None:
        """Refuse so from now on."""
        self._refusals.append(refusal)

    def strike(self, bot_id: int, method: str) -> None:
        """Return, or raise the Fault of the first refusal that matches and count it down."""
        for refusal in self._refusals:
            if refusal.bot_id in (None, bot_id) and (refusal.method or method).lower() == method.lower():
                refusal.times -= 1
                if refusal.times == 0:
                    self._refusals.remove(refusal)
                raise Fault(refusal.status, refusal.description, retry_after=refusal.retry_after)


BodyT = TypeVar("BodyT", bound=BaseModel)


async def create_bot(request: Request) -> Response:
    """A new bot: ``{token, id, username}``."""
    body = await _body(request, NewBot)
    town = _town(request)
    with town.documents.transaction():
        bot = town.create(body.username, body.name)
    return JSONResponse({name: bot[name] for name in ("token", "id", "username")})


async def revoke_bot(request: Request) -> Response:
    """The bot's token works no more, open polls included."""
    town = _town(request)
    bot = town.save(_bot(request) | {"revoked": True})
    town.bells.ring(f"updates:{bot['id']}")
    return Response(status_code=204)


async def show_bot(request: Request) -> Response:
    """Who polls the bot, and what it is called."""
    bot = _bot(request)
    pollers: Pollers = request.app.state.pollers
    told = {name: bot[name] for name in ("id", "username", "name", "revoked")}
    waiting = {"pending_updates": len(_town(request).pending(bot)), "webhook_url": bot["webhook"]["url"]}
    return JSONResponse(told | waiting | pollers.standing(bot))


async def write(request: Request) -> Response:
    """A person writes to the bot: ``{update_id, message_id}``."""
    body = await _body(request, Written)
    sender: Document = {"id": body.user_id, "is_bot": False, "first_name": body.first_name}
    if body.language_code:
        sender["language_code"] = body.language_code
    town = _town(request)
    with town.documents.transaction():
        update_id, message_id = town.receive(_bot(request), sender, body.text)
    return JSONResponse({"update_id": update_id, "message_id": message_id})


async def press(request: Request) -> Response:
    """A person presses a button of the bot's: ``{update_id, callback_query_id}``."""
    body = await _body(request, Pressed)
    town = _town(request)
    with town.documents.transaction():
        update_id, query_id = town.press(_bot(request), body.user_id, body.message_id, body.data)
    return JSONResponse({"update_id": update_id, "callback_query_id": query_id})


async def block(request: Request) -> Response:
    """A person blocks the bot, or lets it write again."""
    body = await _body(request, Blocking)
    _town(request).block(_bot(request), request.path_params["user"], blocked=body.blocked)
    return JSONResponse({"blocked": body.blocked})


async def order(request: Request) -> Response:
    """The next calls that match are refused."""
    request.app.state.ordered.add(await _body(request, Refusal))
    return JSONResponse({"ordered": True})


async def read(request: Request) -> Response:
    """The bot's messages above ``after``; with ``wait`` (seconds) as soon as there is one."""
    town, bot = _town(request), _bot(request)
    try:
        after = int(request.query_params.get("after", "0"))
        wait = min(float(request.query_params.get("wait", "0")), LONGEST_WAIT_SECONDS)
    except ValueError as exc:
        raise Fault(422, "after and wait must be numbers") from exc
    deadline = asyncio.get_running_loop().time() + wait
    with town.bells.listening(f"sent:{bot['id']}") as bell:
        while not (found := town.messages(bot, after)):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await first_of(request, left, bell):
                break
            bell.clear()
    return JSONResponse({"messages": [{"chat_id": one["chat"]["id"], **one} for one in found]})


async def _ready(_: Request) -> Response:
    return JSONResponse({"ready": True})


async def _body(request: Request, model: type[BodyT]) -> BodyT:
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        raise Fault(422, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from exc


def _town(request: Request) -> Town:
    town: Town = request.app.state.town
    return town


def _bot(request: Request) -> Document:
    return _town(request).bot(request.path_params["id"])


ROUTES = [
    Route("/_control/bots", create_bot, methods=["POST"]),
    Route("/_control/bots/{id}", show_bot, methods=["GET"]),
    Route("/_control/bots/{id}", revoke_bot, methods=["DELETE"]),
    Route("/_control/bots/{id}/messages", write, methods=["POST"]),
    Route("/_control/bots/{id}/messages", read, methods=["GET"]),
    Route("/_control/bots/{id}/callbacks", press, methods=["POST"]),
    Route("/_control/bots/{id}/chats/{user:int}", block, methods=["PUT"]),
    Route("/_control/faults", order, methods=["POST"]),
    Route("/_control/ready", _ready, methods=["GET"]),
]
