"""The secret endpoint gives a cell the agent tokens of its own boxes, and writes every one of them down."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from api.secrets import app
from api.settings import SecretEndpointSettings
from controller.core import ids
from controller.domain.vault import SecretRead
from tests.api.house import ADMIN_TOKEN, House, bearer, code

TOKEN = "secrets-token-for-tests-only-0123456789"


@pytest.fixture
async def endpoint(house: House) -> AsyncIterator[httpx.AsyncClient]:
    settings = SecretEndpointSettings(secrets_token=SecretStr(TOKEN))
    transport = httpx.ASGITransport(app.create(settings, house.database, house.mint.sealer))
    async with httpx.AsyncClient(transport=transport, base_url="http://secrets", headers=bearer(TOKEN)) as opened:
        yield opened


async def reads(house: House) -> list[tuple[str, str, int, str]]:
    """What was written down, without what the test's own fixtures read."""
    async with house.database.transaction() as session:
        found = await session.scalars(select(SecretRead).order_by(SecretRead.id))
        return [(one.owner, one.name, one.version, one.reader) for one in found if one.reader.startswith("cell:")]


async def test_an_agent_token_is_given_and_each_read_written_down(house: House, endpoint: httpx.AsyncClient) -> None:
    held = await house.box()
    answers = [await endpoint.get(f"/v1/cells/local/boxes/{held.id}/agent/1") for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"value": held.agent}] * 2
    assert await reads(house) == [(held.id, "agent", 1, "cell:local")] * 2


@pytest.mark.parametrize(
    "path",
    ["other/boxes/{id}/agent/1", "local/boxes/{id}/agent/2", "local/boxes/{id}/agent/0", "local/boxes/{id}/proxy/1",
     "local/boxes/{id}/telegram/1", "local/boxes/{id}/agent/01", "local/boxes/{id}/agent/1/", "local/boxes/{id}",
     "local/boxes/{none}/agent/1", "local/boxes/../boxes/{id}/agent/1%00", "local/drafts/{id}/agent/1", "local/"],
)  # fmt: skip
async def test_anything_else_is_not_found_and_not_read(house: House, endpoint: httpx.AsyncClient, path: str) -> None:
    held = await house.box()
    answer = await endpoint.get(f"/v1/cells/{path.format(id=held.id, none=ids.new())}")
    assert (answer.status_code, held.agent in answer.text) == (404, False)
    assert await reads(house) == []


async def test_every_other_credential_is_refused(house: House, endpoint: httpx.AsyncClient) -> None:
    held = await house.box()
    for token in (ADMIN_TOKEN, held.agent, held.proxy, TOKEN + "x", "x"):
        answer = await endpoint.get(f"/v1/cells/local/boxes/{held.id}/agent/1", headers=bearer(token))
        assert (answer.status_code, code(answer)) == (401, "token_refused")
    assert await reads(house) == []


async def test_a_request_without_a_credential_is_refused(house: House, endpoint: httpx.AsyncClient) -> None:
    held = await house.box()
    del endpoint.headers["authorization"]
    assert (await endpoint.get(f"/v1/cells/local/boxes/{held.id}/agent/1")).status_code == 401
    assert (await endpoint.get("/healthz")).status_code == 200


async def test_prometheus_sees_how_many_were_refused(house: House, endpoint: httpx.AsyncClient) -> None:
    held = await house.box()
    await endpoint.get(f"/v1/cells/local/boxes/{held.id}/agent/1", headers=bearer("x"))
    told = (await endpoint.get("/metrics")).text
    assert 'secrets_requests_total{method="GET",route="/v1/cells/{cell}/{key:path}",status="401"} 1.0' in told
    assert held.id not in told
