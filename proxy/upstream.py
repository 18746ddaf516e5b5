"""The provider: an OpenAI-compatible address and our key for it. Nobody else in this process knows either."""

from __future__ import annotations

from types import TracebackType

import aiohttp

from proxy.errors import UpstreamFailed, UpstreamSilent
from proxy.settings import ProxySettings

OUR_FAULT = frozenset({401, 403})
"""The provider refuses our key: the client's token was right, so this must not look like its fault."""


class Upstream:
    """One process's connections to the provider."""

    def __init__(self, settings: ProxySettings) -> None:
        self._url = f"{settings.llm_upstream_url.rstrip('/')}/chat/completions"
        self._key = settings.llm_upstream_key.get_secret_value()
        idle = settings.upstream_idle.total_seconds()
        self._timeout = aiohttp.ClientTimeout(
            total=settings.upstream_timeout.total_seconds(), sock_connect=5, sock_read=idle
        )
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Upstream:
        # no limit: a stream holds its connection for minutes; no cookies: they would tie customers together
        self._session = aiohttp.ClientSession(
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, content: bytes) -> aiohttp.ClientResponse:
        """The provider's answer once its headers are here.

        Raises UpstreamFailed if it is out of reach or refuses our key, UpstreamSilent if it is too slow.
        """
        if self._session is None:
            raise UpstreamFailed("upstream_not_open")
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            answer = await self._session.post(self._url, data=content, headers=headers, allow_redirects=False)
        except TimeoutError as exc:
            raise UpstreamSilent("upstream_silent") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise UpstreamFailed("upstream_unreachable") from exc
        if answer.status in OUR_FAULT or 300 <= answer.status < 400:
            answer.close()
            raise UpstreamFailed("upstream_refused_us", status=answer.status)
        return answer

    async def whole(self, answer: aiohttp.ClientResponse) -> bytes:
        """The whole body.

        Raises UpstreamFailed if it breaks off, UpstreamSilent if it stalls.
        """
        try:
            return await answer.read()
        except TimeoutError as exc:
            raise UpstreamSilent("upstream_silent") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise UpstreamFailed("upstream_broke_off") from exc
        finally:
            answer.release()

    def without_key(self, content: bytes) -> bytes:
        """``content`` with our key blotted out: a provider's error may quote the request."""
        return content.replace(self._key.encode(), b"***")
