"""The application of a process whose busiest paths do without what an application can do besides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from proxy.naming import Naming

Endpoint = Callable[[Request], Awaitable[Response]]


class Door(Starlette):
    """Starlette, but for calls that go ``straight`` to their endpoint: POSTs to just these paths.

    They get their name as all do; the middleware, the router and the catching of exceptions around each cost more than
    all that the proxy itself does. Such an endpoint answers its own errors; what escapes it ends as uvicorn's 500.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(middleware=[Middleware(Naming)], **options)
        self.straight: Mapping[str, Endpoint] = {}
        self._named = Naming(self._serve)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the application's life."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self.straight:
            await self._named(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.straight[scope["path"]](Request(scope, receive))
        await response(scope, receive, send)
