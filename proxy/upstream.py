"""The way to the providers: who is asked, under which key, and who is next when nothing has come back yet."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import TracebackType

import aiohttp

from controller.core import log as logs
from proxy import sessions
from proxy.breakers import Breaker
from proxy.catalog import Endpoint
from proxy.errors import UpstreamFailed, UpstreamSilent
from proxy.routes import Route, Routes
from proxy.sessions import Patience
from proxy.settings import ProxySettings

log = logs.get(__name__)

OUR_FAULT = frozenset({401, 403})
"""The provider refuses our key: the client's token was right, so this must not look like its fault."""

ELSEWHERE = frozenset({408, 425, 429})
"""Beside the 5xx: what another provider may well answer."""


@dataclass(frozen=True)
class Ask:
    """One call. ``content`` makes the body for a route; ``who`` is its customer, ``headers`` go along."""

    routes: tuple[Route, ...]
    endpoint: Endpoint
    content: Callable[[Route], bytes]
    stream: bool
    who: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Answer:
    """A provider's answer: ``arrived`` is what has come of it so far, and iterating gives all of it, chunk by chunk.

    Iterating raises UpstreamFailed if it breaks off, UpstreamSilent if it stalls.
    """

    def __init__(self, response: aiohttp.ClientResponse, first: bytes, route: Route, broke: Callable[[], None]) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.route = route
        self.arrived = first
        self._response = response
        self._broke = broke
        self._told = False

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> bytes:
        if not self._told:
            self._told = True
            if self.arrived:
                return self.arrived
        try:
            chunk = await self._response.content.readany()
        except TimeoutError as exc:
            self._broke()
            raise UpstreamSilent("upstream_silent") from exc
        except (aiohttp.ClientError, OSError) as exc:
            self._broke()
            raise UpstreamFailed("upstream_broke_off") from exc
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        """Nothing more is wanted."""
        self._response.close()


class Upstream:
    """One process's connections to the providers."""

    def __init__(self, settings: ProxySettings, routes: Routes) -> None:
        patience = Patience(settings.upstream_timeout, settings.upstream_idle)
        self._timeouts = {stream: patience.of(stream=stream) for stream in (False, True)}
        self._hesitation = settings.upstream_hesitation.total_seconds()
        self._secrets = [secret.encode() for secret in sorted(routes.secrets(), key=len, reverse=True)]
        self._breakers = defaultdict[str, Breaker](Breaker)
        """Each provider's, by its name."""

        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Upstream:
        self._session = sessions.opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, ask: Ask) -> Answer:
        """The first good answer once its first bytes are here (all of it, unless it is a stream), or the last bad one.

        One that is not a stream has arrived whole, and so has every error.

        Raises UpstreamFailed if no provider can be reached or all refuse our keys, UpstreamSilent if one is too slow.
        """
        order = self._ordered(ask.routes)
        for place, route in enumerate(order, 1):
            last = place == len(order)
            try:
                answer = await self._attempt(ask, route, last=last)
            except (UpstreamFailed, UpstreamSilent) as error:
                if last:
                    raise
                log.warning("upstream.passed_over", provider=route.provider, why=error.code)
            else:
                if last or not _elsewhere(answer.status):
                    return answer
                log.warning("upstream.passed_over", provider=route.provider, status=answer.status)
                answer.close()
        raise UpstreamFailed("upstream_unknown")

    def failing(self) -> dict[str, bool]:
        """The providers that were asked, and whether each was last seen failing and is asked last."""
        return {provider: breaker.open for provider, breaker in self._breakers.items()}

    def without_key(self, content: bytes) -> bytes:
        """``content`` with our keys blotted out: a provider's error may quote the request."""
        for secret in self._secrets:
            content = content.replace(secret, b"***")
        return content

    def _ordered(self, routes: tuple[Route, ...]) -> list[Route]:
        """The catalog's order, but those that were last seen failing come last."""
        return sorted(routes, key=lambda route: not self._breakers[route.provider].ready)

    async def _attempt(self, ask: Ask, route: Route, *, last: bool) -> Answer:
        breaker = self._breakers[route.provider]
        breaker.begin()
        try:
            async with nullcontext() if last or not ask.stream else asyncio.timeout(self._hesitation):
                answer = await self._post(ask, route)
        except TimeoutError as exc:
            breaker.failed(ask.who, certain=False)
            raise UpstreamSilent("upstream_silent") from exc
        except (aiohttp.ClientError, OSError) as exc:
            breaker.failed(ask.who, certain=isinstance(exc, aiohttp.ClientConnectorError))
            raise UpstreamFailed("upstream_unreachable") from exc
        except BaseException:
            breaker.left()
            raise
        return self._judged(answer, breaker, ask)

    async def _post(self, ask: Ask, route: Route) -> Answer:
        if self._session is None:
            raise UpstreamFailed("upstream_not_open")
        url, key = f"{route.base_url}/{ask.endpoint}", route.key.get_secret_value()
        named = {"x-api-key": key} if ask.endpoint is Endpoint.MESSAGES else {}
        headers = {**ask.headers, **named, "Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        response = await self._session.post(
            url, data=ask.content(route), headers=headers, timeout=self._timeouts[ask.stream], allow_redirects=False
        )
        try:
            # before the first byte somebody else may answer, so it is waited for; in one piece means all of it
            first = await (response.content.readany() if ask.stream and response.status < 400 else response.read())
            if not first and ask.stream and response.status < 400:
                raise aiohttp.ClientPayloadError("nothing came")
        except BaseException:
            response.close()
            raise
        return Answer(response, first, route, lambda: self._breakers[route.provider].failed(ask.who, certain=False))

    def _judged(self, answer: Answer, breaker: Breaker, ask: Ask) -> Answer:
        if answer.status in OUR_FAULT or 300 <= answer.status < 400:
            answer.close()
            breaker.failed(ask.who, certain=False)
            raise UpstreamFailed("upstream_refused_us", status=answer.status)
        if answer.status >= 500:
            breaker.failed(ask.who, certain=False)
        elif answer.status in ELSEWHERE:
            breaker.left()
        else:
            breaker.worked()
        return answer


def _elsewhere(status: int) -> bool:
    return status >= 500 or status in ELSEWHERE
