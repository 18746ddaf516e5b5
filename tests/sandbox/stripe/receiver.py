"""A webhook receiver whose answers a test chooses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import stripe
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sandbox.stripe.serving import serving


@dataclass
class Receiver:
    """What came in: raw bodies and signature headers, in order of arrival."""

    url: str = ""
    refusals: int = 0
    """How many of the next posts are answered 500."""
    taken: list[tuple[bytes, str]] = field(default_factory=list)
    refused: list[tuple[bytes, str]] = field(default_factory=list)

    def events(self, secret: str) -> list[Any]:
        """The events taken so far, each verified by Stripe's own library."""
        return [stripe.Webhook.construct_event(body, header, secret) for body, header in list(self.taken)]

    def types(self, secret: str) -> list[str]:
        """The types of the events taken so far."""
        return [event.type for event in self.events(secret)]

    async def take(self, request: Request) -> Response:
        """Answer 200, or 500 while there are refusals left."""
        post = (await request.body(), request.headers["stripe-signature"])
        if self.refusals > 0:
            self.refusals -= 1
            self.refused.append(post)
            return Response(status_code=500)
        self.taken.append(post)
        return Response()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that answers while the block runs."""
    receiver = Receiver()
    app = Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])
    with serving(app) as base:
        receiver.url = f"{base}/hook"
        yield receiver
