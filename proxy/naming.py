"""A name for every request: made before anything else, told in every answer, the key of its usage."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.core import ids

_HEADER = b"x-request-id"
_KEY = "openclaw.request_id"


class Naming:
    """Middleware that puts our ``X-Request-Id`` on every answer, whatever the client or the provider sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request under a new id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope[_KEY] = ids.new()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_HEADER, request_id.encode())]
            await send(message)

        await self._app(scope, receive, named)


def of(request: Request) -> str:
    """The request's id."""
    request_id: str = request.scope[_KEY]
    return request_id
