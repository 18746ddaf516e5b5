"""Conversations with the providers that must be translated: one is asked, and answers in pieces or with a fault."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import orjson

from proxy.pieces import Piece
from proxy.sessions import Patience
from proxy.translation import Letter, ProviderFault, Translator

LONGEST_EVENT = 16 * 1024 * 1024
LONGEST_FAULT = 1_000
"""Characters of a provider's message that are passed on."""


class Talk(Protocol):
    """One provider under one key."""

    async def whole(self, model: str, body: dict[str, Any], key: str) -> Piece:
        """The whole answer. Raises ProviderFault, Untranslatable, and what aiohttp does."""

    def stream(self, model: str, body: dict[str, Any], key: str) -> AsyncIterator[Piece]:
        """The answer as it comes. Raises the same, in mid-stream as well."""


@dataclass(frozen=True)
class Spelled:
    """A provider whose form a Translator spells; ``session`` follows no redirects for it."""

    translator: Translator
    base_url: str
    session: aiohttp.ClientSession
    patience: Patience

    async def whole(self, model: str, body: dict[str, Any], key: str) -> Piece:
        """The whole answer."""
        letter = self.translator.letter(model, body, key)
        async with await self._post(letter, stream=False) as response:
            return letter.whole(_object(await response.read()))

    async def stream(self, model: str, body: dict[str, Any], key: str) -> AsyncIterator[Piece]:
        """The answer as it comes."""
        letter = self.translator.letter(model, body, key)
        response = await self._post(letter, stream=True)
        try:
            async for data in events(response.content.iter_any()):
                if told := _object(data):
                    _check(told)
                    yield letter.event(told)
        finally:
            response.close()

    async def _post(self, letter: Letter, *, stream: bool) -> aiohttp.ClientResponse:
        content = _dumped(letter.body)
        headers = {**letter.headers, "Content-Type": "application/json"}
        url = f"{self.base_url}{letter.path}"
        timeout = self.patience.of(stream=stream)
        response = await self.session.post(url, data=content, headers=headers, timeout=timeout, allow_redirects=False)
        if response.status == 200:
            return response
        try:
            content = await response.read()
        finally:
            response.close()
        raise fault(response.status, content, response.headers)


def fault(status: int, content: bytes, headers: Mapping[str, str]) -> ProviderFault:
    """What an error's answer says, in the words of Anthropic's and Google's errors."""
    told = _object(content).get("error")
    error = told if isinstance(told, dict) else {}
    details = [one for one in error.get("details") or () if isinstance(one, dict)]
    if any(one.get("reason") == "API_KEY_INVALID" for one in details):
        status = 401  # Google says 400
    delays = [str(one["retryDelay"]) for one in details if "retryDelay" in one]
    after = headers.get("retry-after") or (delays[0].removesuffix("s").partition(".")[0] if delays else None)
    message = error.get("message")
    said = message if isinstance(message, str) else f"the provider answered {status}"
    return ProviderFault(status, said[:LONGEST_FAULT], after)


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each server-sent event, however the bytes were cut.

    Raises ProviderFault for one that is too long.
    """
    held = b""
    async for chunk in chunks:
        held += chunk.replace(b"\r", b"")  # no JSON has one in it
        *whole, held = held.split(b"\n\n")
        if len(held) > LONGEST_EVENT:
            raise ProviderFault(502, "an event of the provider is too long")
        for event in whole:
            yield _data(event)
    if held.strip():
        yield _data(held)


def _data(event: bytes) -> bytes:
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))


def _check(told: dict[str, Any]) -> None:
    """Raise ProviderFault for an error that comes as an event."""
    error = told.get("error")
    if not isinstance(error, dict):
        return
    code = error.get("code")
    status = (
        code
        if isinstance(code, int)
        else {"overloaded_error": 503, "rate_limit_error": 429}.get(error.get("type", ""), 500)
    )
    raise ProviderFault(status, str(error.get("message"))[:LONGEST_FAULT])


def _object(data: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            told = json.loads(data)  # a provider may cut a character's two halves apart, which orjson refuses
        except ValueError:
            return {}
    return told if isinstance(told, dict) else {}


def _dumped(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body).encode()
