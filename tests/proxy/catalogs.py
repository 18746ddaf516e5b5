"""A proxy over a catalog of several providers of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai
from pydantic import SecretStr

from tests.proxy import provider as providers
from tests.proxy.conftest import Door, proxy
from tests.proxy.provider import Provider

NAMES = ("first", "second", "plain")


def text(models: str, *, bases: dict[str, str] | None = None) -> str:
    """A catalog with ``models`` over the providers first, second, plain, which knows no developers, and gone."""
    lines = ["providers:"]
    for name in NAMES:
        base = (bases or {}).get(name, "http://127.0.0.1:9/v1")
        lines.append(f"  {name}: {{base_url: '{base}', developer: {str(name != 'plain').lower()}, {_SPEAKS}}}")
    lines.append("  gone: {base_url: 'http://127.0.0.1:9/v1'}")
    return "\n".join([*lines, "models:", models])


_SPEAKS = "speaks: [responses, embeddings, messages]"


@dataclass
class Opened:
    """A box's clients of that proxy, and the providers behind it."""

    base: str
    http: httpx.AsyncClient
    openai: openai.AsyncOpenAI
    first: Provider
    second: Provider
    plain: Provider

    async def ask(self, model: str = "small", **changed: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "oi"}], **changed}
        return await self.http.post("/v1/chat/completions", json=body)


@asynccontextmanager
async def opened(
    door: Door, dsn: str, models: str, *, token: str | None = None, **changed: Any
) -> AsyncIterator[Opened]:
    """The proxy for ``door``'s box, or another whose ``token`` is given, while the block runs."""
    token = token or door.token
    async with AsyncExitStack() as stack:
        made = {name: await stack.enter_async_context(providers.running()) for name in NAMES}
        given: dict[str, Any] = {
            "llm_catalog": text(models, bases={name: one.base for name, one in made.items()}),
            "llm_keys": {name: SecretStr(f"key-of-{name}") for name in (*NAMES, "gone")},
        }
        base = stack.enter_context(proxy(dsn, door.queue_url, door.provider.base, **given | changed))
        http = httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {token}"}, timeout=20)
        client = openai.AsyncOpenAI(api_key=token, base_url=f"{base}/v1", max_retries=0, timeout=20)
        async with http, client:
            yield Opened(base, http, client, **made)
