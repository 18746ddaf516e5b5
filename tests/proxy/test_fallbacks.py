"""Who answers when a provider does not: the next one before the first byte, nobody after it."""

from __future__ import annotations

import json

import openai
import pytest

from tests.proxy.catalogs import Opened, opened
from tests.proxy.conftest import Door
from tests.proxy.provider import DONE, completion, event, says, streams

MODELS = """
  small: {provider: first, fallbacks: [spare]}
  spare: {provider: second, model: own-name, plans: []}
"""
SPARE = says(json.dumps(completion(content="from the spare")).encode())


@pytest.mark.parametrize("status", [401, 403, 302, 408, 429, 500, 503])
async def test_the_next_provider_answers_for_one_that_cannot(door: Door, dsn: str, status: int) -> None:
    async with opened(door, dsn, MODELS) as at:
        at.first.answer, at.second.answer = says(b"{}", status, location="http://127.0.0.1:9/"), SPARE
        answer = await at.ask()
    assert answer.json()["choices"][0]["message"]["content"] == "from the spare"
    assert [one.parsed()[0]["model"] for one in (at.first, at.second)] == ["small", "own-name"]
    assert (at.first.keys, at.second.keys) == (["Bearer key-of-first"], ["Bearer key-of-second"])


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_request_that_is_at_fault_is_not_sent_on(door: Door, dsn: str, status: int) -> None:
    async with opened(door, dsn, MODELS) as at:
        at.first.answer = says(b'{"error": {}}', status)
        assert (await at.ask()).status_code == status
    assert at.second.bodies == []


async def test_the_last_ones_error_is_told_with_its_wait(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS) as at:
        at.first.answer = says(b"{}", 500)
        at.second.answer = says(b'{"error": {"message": "key-of-second"}}', 429, **{"Retry-After": "9"})
        answer = await at.ask()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "9")
    assert answer.json() == {"error": {"message": "***"}}


async def test_a_stream_without_a_first_byte_is_begun_by_the_next_provider(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS, upstream_hesitation=0.3) as at:
        at.second.answer = streams(event(content="spare"), DONE)
        for answer in (at.first.silent, streams(then=at.first.hangs), streams()):
            at.first.answer = answer
            assert "spare" in (await at.ask(stream=True)).text


async def test_a_stream_that_breaks_after_its_first_byte_is_nobody_elses(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS) as at:
        at.first.answer = streams(event(content="half a sen"), then=at.first.breaks)
        stream = await at.openai.chat.completions.create(
            model="small", messages=[{"role": "user", "content": "oi"}], stream=True
        )
        assert (await anext(stream)).choices[0].delta.content == "half a sen"
        at.first.cut.set()
        with pytest.raises(openai.APIConnectionError):
            await anext(stream)
    assert at.second.bodies == []


async def test_a_provider_that_is_gone_is_asked_last_and_never_refused(door: Door, dsn: str) -> None:
    models = "  small: {provider: gone, fallbacks: [spare]}\n  large: {provider: gone}\n  spare: {provider: second}\n"
    async with opened(door, dsn, models) as at:
        at.second.answer = SPARE
        assert {(await at.ask()).status_code for _ in range(5)} == {200}
        assert (await at.ask("large")).status_code == 502
    assert len(at.second.bodies) == 5


async def test_prometheus_sees_which_provider_is_asked_last(door: Door, dsn: str) -> None:
    models = "  small: {provider: gone, fallbacks: [spare]}\n  spare: {provider: second}\n"
    async with opened(door, dsn, models) as at:
        at.second.answer = SPARE
        for _ in range(3):
            await at.ask()
        told = (await at.http.get("/metrics")).text
    assert 'proxy_breaker_open{provider="gone"} 1.0' in told
    assert 'proxy_breaker_open{provider="second"} 0.0' in told


async def test_one_customers_errors_take_the_provider_from_nobody(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS) as at:
        at.second.answer = SPARE
        at.first.answer = says(b"{}", 500)
        for _ in range(5):
            await at.ask()
        at.first.answer = says(json.dumps(completion(content="back")).encode())
        assert await text(at) == "back"


async def text(at: Opened) -> str | None:
    made = await at.openai.chat.completions.create(model="small", messages=[{"role": "user", "content": "oi"}])
    return made.choices[0].message.content
