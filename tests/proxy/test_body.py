"""How much a body may cost, whichever endpoint it is for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from proxy import body, catalog, dialects, outlines, routes
from proxy.dialects import Dialect
from proxy.settings import ProxySettings

ROUTES = routes.plan(ProxySettings(llm_upstream_url="http://127.0.0.1:9", llm_upstream_key=SecretStr("k")))
DATA = "data:image/png;base64," + "A" * 5_000
BASE64 = {"type": "base64", "media_type": "image/png", "data": DATA}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": BASE64}]}
IMAGES: list[tuple[Dialect, Any]] = [
    (dialects.CHAT, {"type": "image_url", "image_url": {"url": DATA}}),
    (dialects.CHAT, {"type": "image_url", "image_url": DATA}),
    (dialects.RESPONSES, {"type": "input_image", "image_url": DATA}),
    (dialects.RESPONSES, {"type": "function_call_output", "output": [{"type": "input_image", "image_url": DATA}]}),
    (dialects.MESSAGES, {"type": "image", "source": BASE64}),
    (dialects.MESSAGES, RESULT),
]


def prepared(dialect: Dialect, part: Any) -> body.Prepared:
    content = [{"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]}]
    return body.prepare(json.dumps({"model": "small", dialect.content: content}).encode(), ROUTES, dialect)


@pytest.mark.parametrize(("dialect", "part"), IMAGES)
def test_an_image_is_held_by_what_one_may_cost_and_not_by_its_size(dialect: Dialect, part: Any) -> None:
    made = prepared(dialect, part)
    assert made.beside_text == 16_384 + 600
    assert made.input_bound == len(made.countable) + made.beside_text
    assert len(made.countable) < 400


def test_what_is_no_image_is_text() -> None:
    made = prepared(dialects.MESSAGES, {"type": "tool_use", "input": {"type": "image", "source": BASE64}})
    assert (made.beside_text, made.countable) == (600, made.raw)


def test_a_body_may_be_as_deep_as_it_likes() -> None:
    deep: Any = {"type": "image", "source": BASE64}
    for _ in range(400):
        deep = {"content": [deep]}
    assert prepared(dialects.MESSAGES, deep).beside_text == 16_384 + 600


@pytest.mark.parametrize("dialect", dialects.ALL)
def test_only_what_answers_has_a_limit(dialect: Dialect) -> None:
    made = prepared(dialect, {"type": "text", "text": "x"})
    sent = json.loads(made.content(made.output_cap, ROUTES.of["small"][0]))
    limits = {name: value for name, value in sent.items() if name.startswith("max_")}
    assert limits == ({dialect.caps[0]: 16_384} if dialect.caps else {})


@pytest.mark.parametrize("pad", ["", "x" * outlines.SHORT_BYTES], ids=["short", "long"])
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {"max_tokens": 16_384}),
        ({"max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"max_tokens": None, "max_completion_tokens": 99_999}, {"max_tokens": 16_384}),
    ],
)
def test_a_limit_is_spelled_as_the_provider_knows_it(given: dict[str, Any], sent: dict[str, int], pad: str) -> None:
    provider = "{a: {base_url: 'http://127.0.0.1:9', limit: max_tokens}}"
    told = catalog.parse(f"providers: {provider}\nmodels: {{small: {{provider: a}}}}")
    planned = routes.plan(ProxySettings(llm_catalog=told, llm_keys={"a": SecretStr("k")}))
    raw = json.dumps({"model": "small", "messages": [{"role": "user", "content": pad}], **given}).encode()
    made = body.prepare(raw, planned, dialects.CHAT)
    content = json.loads(made.content(made.output_cap, planned.of["small"][0]))
    assert {name: value for name, value in content.items() if name.startswith("max_")} == sent
