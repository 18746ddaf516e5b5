"""Who looks at a page: a person with an account here, named by the address or remembered."""

from __future__ import annotations

import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from controller.sandbox.documents import Document
from controller.sandbox.telegram import bodies, people, views
from controller.sandbox.telegram.faults import bad_request

PERSON_COOKIE = "person"


def person(request: Request) -> Document | None:
    """Who looks: as the address says, else as the last page said; a new id in an address is a new person."""
    town = bodies.town(request)
    given = request.query_params.get("user")
    if given is not None:
        if not re.fullmatch(r"[1-9]\d{0,14}", given):
            raise bad_request("user must be a number")
        return people.remember(town, int(given))
    known = request.cookies.get(PERSON_COOKIE, "")
    return town.documents.get("person", known)


def somebody(request: Request) -> Document:
    """Who looks. Raises Fault if nobody says."""
    found = person(request)
    if found is None:
        raise bad_request("user is missing")
    return found


def choose(request: Request) -> Response:
    """The page that asks who looks, and leads on to the one that was asked for."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    known = [one | {"href": addressed(here, one)} for one in people.everybody(bodies.town(request))]
    return views.page(request, "choose", people=known, next=here)


def addressed(here: str, looking: Document) -> str:
    """The page's address for this person."""
    return f"{here}{'&' if '?' in here else '?'}user={looking['id']}"


def remembered(response: Response, looking: Document) -> Response:
    """The response, after which an address that names nobody means this person."""
    response.set_cookie(PERSON_COOKIE, str(looking["id"]), max_age=30 * 86400, httponly=True, samesite="lax")
    return response


def to_chat(bot: Document, looking: Document) -> RedirectResponse:
    """On to the person's chat with the bot."""
    return RedirectResponse(f"/chat/{quote(bot['username'])}?user={looking['id']}", status_code=303)
