"""Where people and bots come from: the list of both, accounts, BotFather, and a manager's link to a new bot."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from controller.sandbox.documents import Document
from controller.sandbox.telegram import bodies, managed, params, people, views, visitors
from controller.sandbox.telegram.faults import Fault, bad_request

FIRST_PERSON = 5_000_000_001


async def show_home(request: Request) -> Response:
    """Every bot and every person."""
    town = bodies.town(request)
    names = {bot["id"]: bot["username"] for bot in town.bots()}
    bots = [bot | {"manager_name": names.get(bot["manager"])} for bot in town.bots()]
    return views.page(request, "home", bots=bots, people=people.everybody(town), next="/")


async def show_newbot(request: Request) -> Response:
    """What ``https://t.me/newbot/<manager>/<username>?name=<name>`` opens: the question whether to make the bot."""
    person = visitors.person(request)
    if person is None:
        return visitors.choose(request)
    given = request.path_params.get("suggested", ""), request.query_params.get("name", "")
    return visitors.remembered(_newbot(request, person, *given), person)


async def make_newbot(request: Request) -> Response:
    """The person confirms; then the chat with the manager that asked for it, or with the new bot."""
    given = await params.read(request)
    town, manager, person = bodies.town(request), _manager(request), visitors.somebody(request)
    username, name = (given.text("username") or "").strip(), (given.text("name") or "").strip()
    asked = given.number("request", 0) if given.get("request") else None
    try:
        with town.documents.transaction():
            bot = managed.create(town, manager, person, username, name, asked)
    except Fault as fault:
        return _newbot(request, person, username, name, fault)
    return visitors.to_chat(manager if asked is not None else bot, person)


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
    return visitors.remembered(RedirectResponse(visitors.addressed(onward, person), status_code=303), person)


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


ROUTES = [
    Route("/", show_home, methods=["GET"]),
    Route("/people", make_person, methods=["POST"]),
    Route("/botfather", make_bot, methods=["POST"]),
    Route("/botfather/{id}/token", replace_token, methods=["POST"]),
    Route("/newbot/{manager}", show_newbot, methods=["GET"]),
    Route("/newbot/{manager}/", show_newbot, methods=["GET"]),
    Route("/newbot/{manager}/{suggested}", show_newbot, methods=["GET"]),
    Route("/newbot/{manager}", make_newbot, methods=["POST"]),
    Route("/newbot/{manager}/", make_newbot, methods=["POST"]),
    Route("/newbot/{manager}/{suggested}", make_newbot, methods=["POST"]),
]
