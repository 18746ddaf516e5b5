"""What does not get through, and how it is said."""

from __future__ import annotations

import json
from typing import Any

import bcrypt
import httpx
import openai
import pytest
from sqlalchemy import text, update

from controller.core import ids
from controller.core.db import Database
from controller.domain import boxes, lifecycle, token_format, tokens, vault
from controller.domain.tokens import ProxyToken
from proxy.body import MAX_BYTES
from tests import factories, standbys
from tests.proxy.conftest import WHY, Door, proxy
from tests.proxy.provider import KEY, Provider, completion, says
from tests.proxy.waiting import until

REDIRECTING = [
    "api_base", "base_url", "api_key", "api_version", "custom_llm_provider", "extra_headers", "fallbacks",
    "model_list", "mock_response", "organization", "timeout", "vertex_project", "aws_access_key_id", "API_BASE",
]  # fmt: skip


@pytest.mark.parametrize("key", REDIRECTING)
async def test_a_key_that_could_redirect_never_reaches_the_provider(door: Door, key: str) -> None:
    answer = await door.ask(**{key: "http://elsewhere"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "key_not_allowed")
    assert door.provider.bodies == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'"x"', b"\xff", b"{}", b'{"messages":"hi"}', b'{"model":"small"}',
     b'{"model":"small","messages":[],"stream":true,"stream_options":"x"}'],
)  # fmt: skip
async def test_what_is_no_chat_request_is_400(door: Door, content: bytes) -> None:
    answer = await door.http.post("/v1/chat/completions", content=content)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_an_unknown_model_is_404(door: Door) -> None:
    with pytest.raises(openai.NotFoundError):
        await door.openai.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "oi"}])


async def test_a_body_over_the_limit_is_413_also_when_its_length_was_not_announced(door: Door) -> None:
    async def parts() -> Any:
        for _ in range(11):
            yield b" " * (MAX_BYTES // 10)

    announced = await door.http.post("/v1/chat/completions", content=b" " * (MAX_BYTES + 1))
    hidden = await door.http.post("/v1/chat/completions", content=parts())
    assert (announced.status_code, hidden.status_code) == (413, 413)


@pytest.mark.parametrize(
    "given",
    ["", "Basic abc", "Bearer", "Bearer x", "Bearer " + "x" * 5000,
     "Bearer " + token_format.make("proxy", ids.new(), ids.secret()),
     "Bearer " + token_format.make("agent", ids.new(), ids.secret())],
    ids=["none", "basic", "empty", "short", "long", "unknown", "of another door"],
)  # fmt: skip
async def test_a_wrong_token_is_401(door: Door, given: str) -> None:
    answer = await door.http.get("/v1/models", headers={"authorization": given})
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")


async def test_the_bcrypt_hash_must_fit_as_well(door: Door, database: Database) -> None:
    other = bcrypt.hashpw(b"another secret", bcrypt.gensalt(4)).decode()
    async with database.transaction() as session:
        await session.execute(update(ProxyToken).values(hash=other))
    assert (await door.ask()).status_code == 401


async def test_a_standby_may_not_call_since_nobody_would_pay(door: Door, database: Database) -> None:
    mint = factories.mint()
    async with database.transaction() as session:
        box = await standbys.ready(session, mint)
        token = await vault.get(session, mint.sealer, box.id, vault.PROXY, 1, reader="test")
    body = {"model": "small", "messages": [{"role": "user", "content": "oi"}]}
    answer = await door.http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "box_stopped")
    assert door.provider.bodies == []


@pytest.mark.parametrize("how", ["suspended", "condemned", "revoked"])
async def test_a_stopped_box_is_refused_as_soon_as_that_is_committed(door: Door, database: Database, how: str) -> None:
    assert (await door.ask()).status_code == 200
    async with database.transaction() as session:
        box = await boxes.get(session, door.box_id, lock=True)
        if how == "suspended":
            await lifecycle.suspend(session, box, WHY)
        elif how == "condemned":
            await lifecycle.condemn(session, box, WHY)
        else:
            await tokens.revoke_all(session, box.id)
    assert await until(lambda: refused(door), 2)


async def refused(door: Door) -> bool:
    return (await door.ask()).status_code == 403


async def test_who_never_hears_of_a_change_asks_again_by_itself(
    database: Database, dsn: str, door: Door, provider: Provider
) -> None:
    with proxy(dsn, door.queue_url, provider.base, status_fresh=0.3) as base:
        async with httpx.AsyncClient(base_url=base, headers=door.http.headers, timeout=20) as http:
            body = {"model": "small", "messages": []}
            assert (await http.post("/v1/chat/completions", json=body)).status_code == 200
            async with database.transaction() as session:
                await session.execute(text("ALTER TABLE proxy_tokens DISABLE TRIGGER USER"))
                await tokens.revoke_all(session, door.box_id)

            async def stopped() -> bool:
                return (await http.post("/v1/chat/completions", json=body)).status_code == 403

            assert await until(stopped, 3)


@pytest.mark.parametrize("status", [401, 403, 302])
async def test_a_provider_that_refuses_our_key_is_our_fault(door: Door, status: int) -> None:
    door.provider.answer = says(KEY.encode(), status, location="http://elsewhere")
    answer = await door.ask()
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "server_error")
    assert KEY not in answer.text


@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
async def test_other_errors_pass_with_retry_after_and_without_our_key(door: Door, status: int) -> None:
    door.provider.answer = says(
        json.dumps({"error": {"message": f"bad {KEY}"}}).encode(), status, **{"Retry-After": "7"}
    )
    answer = await door.ask(stream=True)
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
    assert answer.json() == {"error": {"message": "bad ***"}}


async def test_a_failing_provider_does_not_poison_the_next_request(door: Door) -> None:
    door.provider.answer = says(b"{}", 401)
    await door.ask()
    door.provider.answer = says(json.dumps(completion(content="x")).encode())
    assert (await door.ask()).status_code == 200


async def test_a_silent_provider_is_504_and_an_absent_one_502(door: Door, dsn: str, provider: Provider) -> None:
    provider.answer = provider.silent
    body = {"model": "small", "messages": [], "stream": True}
    statuses = []
    for base in (provider.base, "http://127.0.0.1:9/v1"):
        with proxy(dsn, door.queue_url, base, upstream_idle=0.2) as at:
            async with httpx.AsyncClient(headers=door.http.headers, timeout=20) as http:
                statuses.append((await http.post(f"{at}/v1/chat/completions", json=body)).status_code)
    assert statuses == [504, 502]
