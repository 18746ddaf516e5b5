"""The customer's Telegram in a browser: the chats with bots, to which a link to ``t.me`` leads."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from controller.sandbox.documents import Document
from controller.sandbox.telegram import (
    bodies,
    buttons,
    files,
    formatting,
    messages,
    params,
    people,
    steering,
    views,
    visitors,
)
from controller.sandbox.telegram.faults import Fault, bad_request

_PAYLOAD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_API = re.compile(r"/bot\d|/file/|/_control/")


def wanted(request: Request) -> bool:
    """Whether a person looks at the answer: a page was asked for, not an answer of the API."""
    return not _API.match(request.url.path) and "text/html" in request.headers.get("accept", "")


def refusal(request: Request, fault: Fault) -> Response:
    """The page that says what did not work."""
    return views.page(request, "refused", status=fault.status, description=fault.description)


async def follow(request: Request) -> Response:
    """What ``https://t.me/<bot>?start=<payload>`` opens: the bot's chat."""
    query = {name: value for name, value in request.query_params.items() if name in ("start", "user")}
    return RedirectResponse(f"/chat/{request.path_params['username']}?{urlencode(query)}", status_code=303)


async def show_chat(request: Request) -> Response:
    """The chat, with Start pressed on its first opening and for each deep link. Asks who looks if nobody says."""
    town, bot = bodies.town(request), _bot(request)
    person = visitors.person(request)
    if person is None:
        return visitors.choose(request)
    payload = request.query_params.get("start") or None
    if payload is not None and not _PAYLOAD.fullmatch(payload):
        raise bad_request("START_PARAM_INVALID")
    if payload is not None or not people.has_met(town, bot, person["id"]):
        with town.documents.transaction():
            text = f"/start {payload}" if payload else "/start"
            if people.may_use(bot, person["id"]):
                messages.receive(town, bot, person, {"text": text})
    if payload is not None:  # a reload presses Start no second time
        return visitors.remembered(visitors.to_chat(bot, person), person)
    others = views.neighbours(town, person)
    return visitors.remembered(views.page(request, "chat", others=others, **views.chat(town, bot, person)), person)


async def show_live(request: Request) -> Response:
    """The part of the chat that changes."""
    person = visitors.somebody(request)
    return views.page(request, "live", **views.chat(bodies.town(request), _bot(request), person))


async def stream(request: Request) -> Response:
    """Server-sent events: ``changed`` at the start and whenever the chat looks different."""
    found = views.changes(bodies.town(request), _bot(request), visitors.somebody(request))
    return StreamingResponse(found, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def say(request: Request) -> Response:
    """The person writes, or sends a file with or without words below it."""
    given = await params.read(request)
    town, bot, person = bodies.town(request), _bot(request), visitors.somebody(request)
    text = (given.text("text") or "").strip()
    upload = given.upload("file")
    with town.documents.transaction():
        if upload and upload.content:
            is_photo = upload.content_type in ("image/png", "image/jpeg", "image/webp")
            field = "photo" if is_photo and files.picture_size(upload.content) else "document"
            steering.receive_file(town, bot, person, field, upload, text)
        elif text:
            formatting.check_length(text)
            messages.receive(town, bot, person, {"text": text})
        else:
            raise bad_request("message text is empty")
    return _done(request, bot, person)


async def press(request: Request) -> Response:
    """The person presses a button under a message."""
    given = await params.read(request)
    town, bot, person = bodies.town(request), _bot(request), visitors.somebody(request)
    with town.documents.transaction():
        buttons.press(town, bot, person["id"], given.number("message_id", 0), given.text("data") or "")
    return _done(request, bot, person)


async def share(request: Request) -> Response:
    """The person picks people that the bot asked for; somebody unknown gets an account by it."""
    given = await params.read(request)
    town, bot, person = bodies.town(request), _bot(request), visitors.somebody(request)
    numbers = re.findall(r"\d+", given.text("user_ids") or "")
    with town.documents.transaction():
        chosen = [people.remember(town, int(number))["id"] for number in numbers]
        buttons.share(town, bot, person["id"], given.number("request_id", 0), chosen)
    return _done(request, bot, person)


async def share_contact(request: Request) -> Response:
    """The person's own number, which is no number that anybody has."""
    town, bot, person = bodies.town(request), _bot(request), visitors.somebody(request)
    contact = {"phone_number": f"+000{person['id']}", "first_name": person["first_name"], "user_id": person["id"]}
    with town.documents.transaction():
        messages.receive(town, bot, person, {"contact": contact})
    return _done(request, bot, person)


async def block(request: Request) -> Response:
    """The person blocks the bot, or starts it again."""
    given = await params.read(request)
    town, bot, person = bodies.town(request), _bot(request), visitors.somebody(request)
    with town.documents.transaction():
        if given.flag("blocked"):
            people.block(town, bot, person["id"], blocked=True)
        else:
            messages.receive(town, bot, person, {"text": "/start"})
    return _done(request, bot, person)


async def show_file(request: Request) -> Response:
    """A file of the chat."""
    town, bot = bodies.town(request), _bot(request)
    known = files.of(town, bot, request.path_params["file_id"])
    if known is None:
        raise Fault(404, "Not Found")
    # What somebody uploaded is shown as a picture or saved; never run as a page of ours.
    inline = known["mime_type"].startswith(("image/", "audio/", "video/")) and "svg" not in known["mime_type"]
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
    return FileResponse(
        files.path(town, bot, known),
        media_type=known["mime_type"] if inline else "application/octet-stream",
        filename=known["file_name"],
        content_disposition_type="inline" if inline else "attachment",
        headers=headers,
    )


def _bot(request: Request) -> Document:
    bot = bodies.town(request).named(request.path_params["username"])
    if bot is None:
        raise Fault(404, "Not Found")
    return bot


def _done(request: Request, bot: Document, person: Document) -> Response:
    """A script hears that it worked; a browser without one sees the chat again."""
    if "text/html" in request.headers.get("accept", ""):
        return visitors.to_chat(bot, person)
    return JSONResponse({"ok": True})


ROUTES = [
    Route("/chat/{username}", show_chat, methods=["GET"]),
    Route("/chat/{username}/live", show_live, methods=["GET"]),
    Route("/chat/{username}/events", stream, methods=["GET"]),
    Route("/chat/{username}/messages", say, methods=["POST"]),
    Route("/chat/{username}/press", press, methods=["POST"]),
    Route("/chat/{username}/share", share, methods=["POST"]),
    Route("/chat/{username}/contact", share_contact, methods=["POST"]),
    Route("/chat/{username}/block", block, methods=["POST"]),
    Route("/chat/{username}/files/{file_id}", show_file, methods=["GET"]),
    Mount("/_static", StaticFiles(directory=views.HERE / "static")),
    Route("/{username}", follow, methods=["GET"]),
]
