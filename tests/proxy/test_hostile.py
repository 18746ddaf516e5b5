"""Bodies that try to send the call elsewhere: the canary hears nothing, and tools may have any parameter."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy import outlines
from tests.proxy import provider as providers
from tests.proxy.conftest import Door
from tests.proxy.provider import Provider

NAMES = (
    "api_base", "base_url", "api_key", "api_version", "custom_llm_provider", "extra_headers", "fallbacks", "model_list",
    "mock_response", "organization", "timeout", "vertex_project", "aws_access_key_id", "extra_body", "azure_ad_token",
    "litellm_params",
)  # fmt: skip

SHORT, LONG = "[]", json.dumps([{"role": "user", "content": "x" * outlines.SHORT_BYTES}])


def wide(name: str) -> str:
    """In full-width letters, which parsers may fold into plain ones."""
    return "".join(chr(ord(letter) + 0xFEE0) if letter.isalpha() else letter for letter in name)


SPELLINGS = {
    "plain": lambda name, value: json.dumps({name: value}),
    "upper case": lambda name, value: json.dumps({name.upper(): value}),
    "full width": lambda name, value: json.dumps({wide(name): value}),
    "zero width": lambda name, value: json.dumps({f"{name[0]}\u200b{name[1:]}": value}),
    "camel case": lambda name, value: json.dumps({name.title().replace("_", ""): value}),
    "escaped": lambda name, value: f'{{"\\u{ord(name[0]):04x}{name[1:]}": {json.dumps(value)}}}',
    "twice": lambda name, value: f'{{"{name}": null, "{name}": {json.dumps(value)}}}',
    "nested": lambda name, value: json.dumps({"metadata": {"deeper": [{name: value}]}}),
}


@pytest.fixture
async def canary() -> AsyncIterator[Provider]:
    async with providers.running() as made:
        yield made


@pytest.mark.parametrize("messages", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_of_a_redirecting_key_reaches_anybody(
    door: Door, canary: Provider, spelling: str, messages: str
) -> None:
    head = f'{{"model": "small", "messages": {messages}, '
    for name in NAMES:
        answer = await door.http.post("/v1/chat/completions", content=head + SPELLINGS[spelling](name, canary.base)[1:])
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "key_not_allowed"), name
    assert (canary.bodies, door.provider.bodies) == ([], [])


async def test_a_tool_may_have_a_parameter_of_any_name(door: Door) -> None:
    properties: dict[str, Any] = {name: {"type": "string"} for name in NAMES}
    function = {"name": "call", "parameters": {"type": "object", "properties": properties}}
    answer = await door.ask(tools=[{"type": "function", "function": function}])
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "twice",
    [
        '"max_tokens": 5, "max_tokens": 9',
        '"max_tokens": 9999999, "max_\\u0074okens": 9',
        '"n": 64, "n": 1, "max_tokens": 9',
    ],
)
@pytest.mark.parametrize("messages", [SHORT, LONG], ids=["short", "long"])
async def test_a_key_that_stands_there_twice_goes_up_once_as_we_understood_it(
    door: Door, twice: str, messages: str
) -> None:
    content = f'{{"model": "small", "messages": {messages}, {twice}}}'
    await door.http.post("/v1/chat/completions", content=content)
    (sent,) = door.provider.bodies
    assert (sent.count(b'"max_tokens"'), json.loads(sent)["max_tokens"]) == (1, 9)


async def test_a_redirect_is_not_followed_and_our_key_stays(door: Door, canary: Provider) -> None:
    door.provider.answer = providers.says(b"", 307, location=f"{canary.base}/chat/completions")
    assert (await door.ask()).status_code == 502
    assert canary.keys == []
