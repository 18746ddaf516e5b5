"""Our client of a forge: what it asks in each one's way, and refusals as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from controller.clients.forge import Forge, ForgeAway, ForgeRefused, ForgeSettings, Kind
from controller.core.errors import CloudError, OutcomeUnknown
from controller.core.settings import SettingsError
from tests.clients import forges
from tests.clients.forges import StandIn
from tests.clients.silence import hanging_up

SHA = "a" * 40


@pytest.fixture
def host() -> Iterator[StandIn]:
    with forges.running() as made:
        yield made


def client(url: str, kind: str = "github") -> Forge:
    return Forge(ForgeSettings(forge_kind=Kind(kind), forge_url=url, forge_project="acme/boxes", forge_token="t0k3n"))


@pytest.mark.parametrize(
    ("kind", "path", "body", "header"),
    [
        ("github", f"/repos/acme/boxes/statuses/{SHA}",
         {"state": "failure", "context": "openclaw-cloud/adoption", "description": "put back"},
         ("authorization", "Bearer t0k3n")),
        ("gitlab", f"/projects/acme%2Fboxes/statuses/{SHA}",
         {"state": "failed", "name": "openclaw-cloud/adoption", "description": "put back"},
         ("private-token", "t0k3n")),
    ],
)  # fmt: skip
async def test_a_status_is_set_in_each_ones_way(
    host: StandIn, kind: str, path: str, body: dict[str, str], header: tuple[str, str]
) -> None:
    await client(host.url, kind).status(SHA, good=False, description="put back")
    [asked] = host.asked
    assert (asked.path, asked.body, asked.headers[header[0]]) == (path, body, header[1])


@pytest.mark.parametrize(
    ("kind", "path", "key"),
    [
        ("github", f"/repos/acme/boxes/commits/{SHA}/comments", "body"),
        ("gitlab", f"/projects/acme%2Fboxes/repository/commits/{SHA}/comments", "note"),
    ],
)
async def test_a_comment_stands_under_the_commit(host: StandIn, kind: str, path: str, key: str) -> None:
    await client(host.url, kind).comment(SHA, "why")
    assert [(asked.path, asked.body) for asked in host.asked] == [(path, {key: "why"})]


async def test_without_a_forge_nobody_is_asked() -> None:
    forge = Forge(ForgeSettings())
    await forge.status(SHA, good=True, description="adopted")
    await forge.comment(SHA, "why")


@pytest.mark.parametrize(
    ("status", "headers", "body", "error"),
    [
        (401, {}, {"message": "Bad credentials"}, ForgeRefused),
        (404, {}, {"message": "Not Found"}, ForgeRefused),
        (404, {}, {"message": "404 Project Not Found"}, ForgeRefused),
        (422, {}, {"message": "No commit found for SHA"}, ForgeRefused),
        (403, {}, {"message": "Resource not accessible by personal access token"}, ForgeRefused),
        (403, {"x-ratelimit-remaining": "0"}, {"message": "API rate limit exceeded"}, ForgeAway),
        (403, {"retry-after": "30"}, {"message": "You have exceeded a secondary rate limit"}, ForgeAway),
        (429, {}, {"message": "Too Many Requests"}, ForgeAway),
        (502, {}, {"message": "Server Error"}, ForgeAway),
    ],
)
async def test_each_refusal_is_an_error_of_ours(
    host: StandIn, status: int, headers: dict[str, str], body: dict[str, Any], error: type[CloudError]
) -> None:
    host.answers.append((status, headers, body))
    with pytest.raises(error, match=body["message"]):
        await client(host.url).status(SHA, good=True, description="adopted")


async def test_the_forge_says_how_long_to_wait(host: StandIn) -> None:
    host.answers.append((429, {"retry-after": "30"}, {}))
    with pytest.raises(ForgeAway) as caught:
        await client(host.url).comment(SHA, "why")
    assert caught.value.retry_after == timedelta(seconds=30)


async def test_a_status_that_gitlab_has_already_is_no_error(host: StandIn) -> None:
    told = 'Cannot transition status via :succeed from :success (Reason(s): Status cannot transition via "succeed")'
    host.answers.append((400, {}, {"message": told}))
    await client(host.url, "gitlab").status(SHA, good=True, description="adopted")


async def test_a_lost_answer_is_not_a_refusal() -> None:
    async with hanging_up() as url:
        with pytest.raises(OutcomeUnknown):
            await client(url).comment(SHA, "why")


async def test_a_forge_that_is_not_there_got_nothing() -> None:
    with pytest.raises(ForgeAway):
        await client("http://127.0.0.1:9").comment(SHA, "why")


@pytest.mark.parametrize(("missing", "given"), [("FORGE_TOKEN", "a/b"), ("FORGE_PROJECT", "")])
def test_what_a_forge_needs_is_named_at_the_start(missing: str, given: str) -> None:
    with pytest.raises(SettingsError, match=missing):
        Forge(ForgeSettings(forge_kind=Kind.GITHUB, forge_project=given))
