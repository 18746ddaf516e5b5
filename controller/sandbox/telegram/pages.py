"""The customer's Telegram in a browser: chats with bots, and the pages that a link to ``t.me`` would open."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

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
    managed,
    messages,
    params,
    people,
    steering,
    views,
)
from controller.sandbox.telegram.faults import Fault, bad_request

FIRST_PERSON = 5_000_000_001
PERSON_COOKIE = "person"
_PAYLOAD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_API = re.compile(r"/bot\d|/file/|/_control/")


def wanted(request: Request) -> bool:
    """Whether a person looks at the answer: a page was asked for, not an answer of the API."""
    return not _API.match(request.url.path) and "text/html" in request.headers.get("accept", "")


def refusal(request: Request, fault: Fault) -> Response:
    """The page that says what did not work."""
    return views.page(request, "refused", status=fault.status, description=fault.description)


async def show_home(request: Request) -> Response:
    """Every bot and every person."""
    town = bodies.town(request)
    names = {bot["id"]: bot["username"] for bot in town.bots()}
    bots = [bot | {"manager_name": names.get(bot["manager"])} for bot in town.bots()]
    return views.page(request, "home", bots=bots, people=people.everybody(town), next="/")


async def follow(request: Request) -> Response:
    """What ``https://t.me/<bot>?start=<payload>`` opens: the bot's chat."""
    query = {name: value for name, value in request.query_params.items() if name in ("start", "user")}
    return RedirectResponse(f"/chat/{request.path_params['username']}?{urlencode(query)}", status_code=303)


async def show_chat(request: Request) -> Response:
    """The chat, with Start pressed on its first opening and for each deep link. Asks who looks if nobody says."""
    town, bot = bodies.town(request), _bot(request)
    person = _person(request)
    if person is None:
        return _choose(request)
    payload = request.query_params.get("start")
    if payload is not None and not _PAYLOAD.fullmatch(payload):
        raise bad_request("START_PARAM_INVALID")
    if payload is not None or not people.has_met(town, bot, person["id"]):
        with town.documents.transaction():
            text = f"/start {payload}" if payload else "/start"
            if people.may_use(bot, person["id"]):
                messages.receive(town, bot, person, {"text": text})
    if payload is not None:  # a reload presses Start no second time
        return _remembered(_back(bot, person), person)
    others = views.neighbours(town, person)
    return _remembered(views.page(request, "chat", others=others, **views.chat(town, bot, person)), person)


async def show_live(request: Request) -> Response:
    """The part of the chat that changes."""
    person = _somebody(request)
    return views.page(request, "live", **views.chat(bodies.town(request), _bot(request), person))


async def stream(request: Request) -> Response:
    """Server-sent events: ``changed`` at the start and whenever the chat looks different."""
    found = views.changes(bodies.town(request), _bot(request), _somebody(request))
    return StreamingResponse(found, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def say(request: Request) -> Response:
    """The person writes, or sends a file with or without words below it."""
    given = await params.read(request)
    town, bot, person = bodies.town(request), _bot(request), _somebody(request)
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
    town, bot, person = bodies.town(request), _bot(request), _somebody(request)
    with town.documents.transaction():
        buttons.press(town, bot, person["id"], given.number("message_id", 0), given.text("data") or "")
    return _done(request, bot, person)


async def share(request: Request) -> Response:
    """The person picks people that the bot asked for; somebody unknown gets an account by it."""
    given = await params.read(request)
    town, bot, person = bodies.town(request), _bot(request), _somebody(request)
    numbers = re.findall(r"\d+", given.text("user_ids") or "")
    with town.documents.transaction():
        chosen = [people.remember(town, int(number))["id"] for number in numbers]
        buttons.share(town, bot, person["id"], given.number("request_id", 0), chosen)
    return _done(request, bot, person)


async def share_contact(request: Request) -> Response:
    """The person's own number, which is no number that anybody has."""
    town, bot, person = bodies.town(request), _bot(request), _somebody(request)
    contact = {"phone_number": f"+000{person['id']}", "first_name": person["first_name"], "user_id": person["id"]}
    with town.documents.transaction():
        messages.receive(town, bot, person, {"contact": contact})
    return _done(request, bot, person)


async def block(request: Request) -> Response:
    """The person blocks the bot, or starts it again."""
    given = await params.read(request)
    town, bot, person = bodies.town(request), _bot(request), _somebody(request)
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


async def show_newbot(request: Request) -> Response:
    """What ``https://t.me/newbot/<manager>/<username>?name=<name>`` opens: the question whether to make the bot."""
    person = _person(request)
    if person is None:
        return _choose(request)
    given = request.path_params.get("suggested", ""), request.query_params.get("name", "")
    return _remembered(_newbot(request, person, *given), person)


async def make_newbot(request: Request) -> Response:
    """The person confirms; then the chat with the manager that asked for it, or with the new bot."""
    given = await params.read(request)
    town, manager, person = bodies.town(request), _manager(request), _somebody(request)
    username, name = (given.text("username") or "").strip(), (given.text("name") or "").strip()
    asked = given.number("request", 0) if given.get("request") else None
    try:
        with town.documents.transaction():
            bot = managed.create(town, manager, person, username, name, asked)
    except Fault as fault:
        return _newbot(request, person, username, name, fault)
    return _back(manager if asked is not None else bot, person)


async def make_person(request: Request) -> Response:
    """Somebody opens an account and goes on to where they wanted to be."""
    given = await params.read(request)
    town = bodies.town(request)
    onward = given.text("next") or "/"
    with town.documents.transaction():
        number = given.number("user_id", 0) or town.documents.next("person", FIRST_PERSON)
        about = {name: given.text(name) or None for name in ("first_name", "language_code")}
        person = people.remember(town, number, **about)
    # Onward only to a page of ours.
    onward = onward if re.match(r"/(?![/\\])", onward) else "/"
    if onward == "/":
        return RedirectResponse("/", status_code=303)
    return _remembered(RedirectResponse(_as(onward, person), status_code=303), person)


async def make_bot(request: Request) -> Response:
    """BotFather makes a bot and shows its token."""
    given = await params.read(request)
    town = bodies.town(request)
    with town.documents.transaction():
        bot = town.create(
            given.text("username") or "", given.text("name") or "", can_manage_bots=given.flag("can_manage_bots")
        )
    return views.page(request, "token", bot=bot, replaced=False)


async def replace_token(request: Request) -> Response:
    """BotFather revokes a bot's token and shows the new one."""
    town = bodies.town(request)
    with town.documents.transaction():
        bot = managed.rotate(town, bodies.bot(request))
    return views.page(request, "token", bot=bot, replaced=True)


def _newbot(request: Request, person: Document, username: str, name: str, fault: Fault | None = None) -> Response:
    refused = fault.description if fault else None
    given = {"manager": _manager(request), "person": person, "username": username, "name": name, "refused": refused}
    return views.page(request, "newbot", status=fault.status if fault else 200, **given)


def _manager(request: Request) -> Document:
    manager = bodies.town(request).named(request.path_params["manager"])
    if manager is None or not manager["can_manage_bots"]:
        raise bad_request("MANAGER_INVALID" if manager is None else "MANAGER_PERMISSION_MISSING")
    return manager


def _bot(request: Request) -> Document:
    bot = bodies.town(request).named(request.path_params["username"])
    if bot is None:
        raise Fault(404, "Not Found")
    return bot


def _person(request: Request) -> Document | None:
    """Who looks: as the address says, else as the last page said; a new id in an address is a new person."""
    town = bodies.town(request)
    given = request.query_params.get("user")
    if given is not None:
        if not re.fullmatch(r"[1-9]\d{0,14}", given):
            raise bad_request("user must be a number")
        return people.remember(town, int(given))
    known = request.cookies.get(PERSON_COOKIE, "")
    return town.documents.get("person", known)


def _somebody(request: Request) -> Document:
    person = _person(request)
    if person is None:
        raise bad_request("user is missing")
    return person


def _choose(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    known = [one | {"href": _as(here, one)} for one in people.everybody(bodies.town(request))]
    return views.page(request, "choose", people=known, next=here)


def _as(here: str, person: Document) -> str:
    return f"{here}{'&' if '?' in here else '?'}user={person['id']}"


def _remembered(response: Response, person: Document) -> Response:
    response.set_cookie(PERSON_COOKIE, str(person["id"]), max_age=30 * 86400, httponly=True, samesite="lax")
    return response


def _back(bot: Document, person: Document) -> RedirectResponse:
    return RedirectResponse(f"/chat/{quote(bot['username'])}?user={person['id']}", status_code=303)


def _done(request: Request, bot: Document, person: Document) -> Response:
    """A script hears that it worked; a browser without one sees the chat again."""
    if "text/html" in request.headers.get("accept", ""):
        return _back(bot, person)
    return JSONResponse({"ok": True})


ROUTES = [
    Route("/", show_home, methods=["GET"]),
    Route("/people", make_person, methods=["POST"]),
    Route("/botfather", make_bot, methods=["POST"]),
    Route("/botfather/{id}/token", replace_token, methods=["POST"]),
    Route("/chat/{username}", show_chat, methods=["GET"]),
    Route("/chat/{username}/live", show_live, methods=["GET"]),
    Route("/chat/{username}/events", stream, methods=["GET"]),
    Route("/chat/{username}/messages", say, methods=["POST"]),
    Route("/chat/{username}/press", press, methods=["POST"]),
    Route("/chat/{username}/share", share, methods=["POST"]),
    Route("/chat/{username}/contact", share_contact, methods=["POST"]),
    Route("/chat/{username}/block", block, methods=["POST"]),
    Route("/chat/{username}/files/{file_id}", show_file, methods=["GET"]),
    Route("/newbot/{manager}", show_newbot, methods=["GET"]),
    Route("/newbot/{manager}/", show_newbot, methods=["GET"]),
    Route("/newbot/{manager}/{suggested}", show_newbot, methods=["GET"]),
    Route("/newbot/{manager}", make_newbot, methods=["POST"]),
    Route("/newbot/{manager}/", make_newbot, methods=["POST"]),
    Route("/newbot/{manager}/{suggested}", make_newbot, methods=["POST"]),
    Mount("/_static", StaticFiles(directory=views.HERE / "static")),
    Route("/{username}", follow, methods=["GET"]),
]
