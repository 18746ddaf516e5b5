"""A prompt and its answer fit into the model's context, or the client hears that they do not."""

from __future__ import annotations

import anthropic
import openai
import pytest

from tests.proxy.catalogs import Opened, opened
from tests.proxy.conftest import Door
from tests.proxy.provider import says

MODELS = """
  small: {provider: first, context_tokens: 20000}
  large: {provider: first}
  tiny: {provider: first, plans: [pro], context_tokens: 4000}
  wider: {provider: first, plans: [pro], context_tokens: 20000, fallbacks: [large]}
  backed: {provider: first, plans: [pro], context_tokens: 4000, fallbacks: [roomy]}
  roomy: {provider: second, plans: [], context_tokens: 100000}
"""
WORD = " palavra"
"""One token of o200k."""


async def ask(at: Opened, model: str, words: int) -> None:
    await at.openai.chat.completions.create(model=model, messages=[{"role": "user", "content": WORD * words}])


async def test_a_prompt_that_cannot_fit_is_refused_in_the_words_that_clients_know(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS) as at:
        with pytest.raises(openai.BadRequestError) as caught:
            await ask(at, "small", 30_000)
    assert (caught.value.code, caught.value.type) == ("context_length_exceeded", "invalid_request_error")
    assert "This model's maximum context length is 20000 tokens. However, your messages resulted in 30" in str(
        caught.value
    )
    assert at.first.bodies == []


async def test_it_holds_nothing_of_the_plan_afterwards(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS, rate_burst=100) as at:
        for _ in range(20):  # each would hold more than a tenth of the plan
            assert (await at.ask(messages=[{"role": "user", "content": "x" * 900_000}])).status_code == 400
        assert (await at.ask()).status_code == 200


async def test_anthropics_clients_hear_it_in_their_form(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS) as at, anthropic.AsyncAnthropic(api_key=door.token, base_url=at.base) as said:
        with pytest.raises(anthropic.BadRequestError, match="maximum context length is 20000 tokens"):
            await said.messages.create(
                model="small", max_tokens=9, messages=[{"role": "user", "content": WORD * 30_000}]
            )


@pytest.mark.parametrize(
    ("model", "words", "least", "most"),
    [
        ("tiny", 1, 3_900, 4_000),
        ("small", 16_000, 3_500, 4_000),
        ("small", 19_900, 1_024, 1_024),
        ("small", 800, 16_384, 16_384),
        ("large", 30_000, 16_384, 16_384),
    ],
)
async def test_an_answer_may_have_what_the_prompt_leaves(
    door: Door, dsn: str, model: str, words: int, least: int, most: int
) -> None:
    async with opened(door, dsn, MODELS) as at:
        await ask(at, model, words)
        (body,) = at.first.parsed()
    assert least <= body["max_completion_tokens"] <= most


@pytest.mark.parametrize(("model", "asked"), [("wider", "first"), ("backed", "second")])
async def test_it_goes_to_a_model_that_can_hold_it(door: Door, dsn: str, model: str, asked: str) -> None:
    async with opened(door, dsn, MODELS) as at:
        await ask(at, model, 30_000)
        assert {name: len(getattr(at, name).bodies) for name in ("first", "second")} == {
            "first": int(asked == "first"), "second": int(asked == "second"),
        }  # fmt: skip


async def test_many_texts_to_embed_are_no_long_prompt(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS) as at:
        at.first.answer = says(b'{"data": [], "usage": {"prompt_tokens": 30000}}')
        answer = await at.http.post("/v1/embeddings", json={"model": "small", "input": [WORD * 3_000] * 10})
    assert answer.status_code == 200


async def test_clients_can_look_up_how_much_a_model_reads(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS) as at:
        listed = {one.id: one.model_extra async for one in at.openai.models.list()}
    assert (listed["small"], listed["large"]) == ({"context_length": 20_000}, {})
