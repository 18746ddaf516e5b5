"""People and the weather below ``/_control``: who writes, presses, blocks; what is refused and limited."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.telegram import bodies, buttons, files, messages, params, people, updates
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import Fault, bad_request
from controller.sandbox.telegram.params import Upload


class Ordered:
    """The refusals that a test ordered; a restart forgets them."""

    def __init__(self) -> None:
        self._refusals: list[bodies.Refusal] = []

    def add(self, refusal: bodies.Refusal) -> None:
        """Refuse so from now on."""
        self._refusals.append(refusal)

    def clear(self) -> None:
        """Refuse nothing that was ordered before."""
        self._refusals.clear()

    def strike(self, bot_id: int, method: str) -> None:
        """Return, or raise the Fault of the first refusal that matches and count it down."""
        for refusal in self._refusals:
            if refusal.bot_id in (None, bot_id) and (refusal.method or method).lower() == method.lower():
                refusal.times -= 1
                if refusal.times == 0:
                    self._refusals.remove(refusal)
                raise Fault(refusal.status, refusal.description, retry_after=refusal.retry_after)


async def put_person(request: Request) -> Response:
    """A person has an account, with these names."""
    body = await bodies.body(request, bodies.Person)
    return JSONResponse(people.remember(bodies.town(request), request.path_params["user"], **body.model_dump()))


async def list_people(request: Request) -> Response:
    """Everybody who has an account."""
    return JSONResponse({"people": people.everybody(bodies.town(request))})


async def write(request: Request) -> Response:
    """A person writes to the bot: ``{update_id, message_id}``."""
    body = await bodies.body(request, bodies.Written)
    town = bodies.town(request)
    with town.documents.transaction():
        sender = people.remember(town, body.user_id, **body.model_dump(exclude={"user_id", "text"}))
        update_id, message_id = messages.receive(town, bodies.bot(request), sender, {"text": body.text})
    return JSONResponse({"update_id": update_id, "message_id": message_id})


async def write_file(request: Request) -> Response:
    """A person sends a file (form field ``photo``, ``document``, ``voice`` …): ``{update_id, message_id}``."""
    given = await params.read(request)
    town, bot = bodies.town(request), bodies.bot(request)
    field = next((name for name in files.KINDS if given.upload(name)), None)
    upload = given.upload(field) if field else None
    if field is None or upload is None:
        raise bad_request(f"one file is expected, in one of {', '.join(files.KINDS)}")
    with town.documents.transaction():
        sender = people.remember(town, given.number("user_id", 0))
        update_id, message_id = receive_file(town, bot, sender, field, upload, given.text("caption") or "")
    return JSONResponse({"update_id": update_id, "message_id": message_id})


def receive_file(
    town: Town, bot: Document, sender: Document, field: str, upload: Upload, caption: str
) -> tuple[int, int]:
    """A person's file and what they wrote below it; the update's id and the message's id."""
    content = files.stored(town, bot, upload, field) | ({"caption": caption} if caption else {})
    return messages.receive(town, bot, sender, content)


async def press(request: Request) -> Response:
    """A person presses a button of the bot's: ``{update_id, callback_query_id}``."""
    body = await bodies.body(request, bodies.Pressed)
    town = bodies.town(request)
    with town.documents.transaction():
        update_id, query_id = buttons.press(town, bodies.bot(request), body.user_id, body.message_id, body.data)
    return JSONResponse({"update_id": update_id, "callback_query_id": query_id})


async def share(request: Request) -> Response:
    """A person picks people at the bot's button: ``{update_id, message_id}``."""
    body = await bodies.body(request, bodies.Shared)
    town = bodies.town(request)
    with town.documents.transaction():
        made = buttons.share(town, bodies.bot(request), body.user_id, body.request_id, body.user_ids)
    return JSONResponse(dict(zip(("update_id", "message_id"), made, strict=True)))


async def react(request: Request) -> Response:
    """A person reacts to a message, which the bot hears of if it asked for it: ``{update_id}``."""
    body = await bodies.body(request, bodies.Reacted)
    town, bot = bodies.town(request), bodies.bot(request)
    found = people.acquaintance(town, bot, body.user_id)
    if messages.written(town, bot, body.user_id, body.message_id) is None:
        raise bad_request("message to react not found")
    chosen = [{"type": "emoji", "emoji": body.emoji}] if body.emoji else []
    content = {
        "chat": found["chat"],
        "message_id": body.message_id,
        "user": found["user"],
        "date": int(clock.now().timestamp()),
        "old_reaction": [],
        "new_reaction": chosen,
    }
    with town.documents.transaction():
        return JSONResponse({"update_id": updates.push(town, bot, "message_reaction", content)})


async def block(request: Request) -> Response:
    """A person blocks the bot, or lets it write again."""
    body = await bodies.body(request, bodies.Blocking)
    town = bodies.town(request)
    with town.documents.transaction():
        people.block(town, bodies.bot(request), request.path_params["user"], blocked=body.blocked)
    return JSONResponse({"blocked": body.blocked})


async def refuse(request: Request) -> Response:
    """The next calls that match are refused."""
    request.app.state.ordered.add(await bodies.body(request, bodies.Refusal))
    return JSONResponse({"ordered": True})


async def refuse_no_more(request: Request) -> Response:
    """Nothing that was ordered before is refused."""
    request.app.state.ordered.clear()
    return Response(status_code=204)


async def limit(request: Request) -> Response:
    """Messages are limited from now on, or not."""
    body = await bodies.body(request, bodies.Limited)
    bodies.town(request).limits.set(body.per_chat_per_second, body.per_bot_per_second)
    return JSONResponse(body.model_dump())


ROUTES = [
    Route("/_control/people", list_people, methods=["GET"]),
    Route("/_control/people/{user:int}", put_person, methods=["PUT"]),
    Route("/_control/bots/{id}/messages", write, methods=["POST"]),
    Route("/_control/bots/{id}/files", write_file, methods=["POST"]),
    Route("/_control/bots/{id}/callbacks", press, methods=["POST"]),
    Route("/_control/bots/{id}/shares", share, methods=["POST"]),
    Route("/_control/bots/{id}/reactions", react, methods=["POST"]),
    Route("/_control/bots/{id}/chats/{user:int}", block, methods=["PUT"]),
    Route("/_control/faults", refuse, methods=["POST"]),
    Route("/_control/faults", refuse_no_more, methods=["DELETE"]),
    Route("/_control/limits", limit, methods=["PUT"]),
]
