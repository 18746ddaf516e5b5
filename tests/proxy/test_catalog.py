"""The catalog: what is wrong with one is said, and each plan's customers see and use their own models."""

from __future__ import annotations

import openai
import pytest

from controller.core.settings import SettingsError, load
from controller.domain.plans import PlanName
from proxy import catalog, outlines, routes
from proxy.catalog import Prices
from proxy.settings import ProxySettings
from proxy.usages import Usage
from tests.proxy.catalogs import Opened, opened, text
from tests.proxy.conftest import Door

MODELS = """
  small: {provider: first, model: tiny-1}
  large: {provider: first}
  tuned: {provider: first, plans: [team]}
  own/model:v2: {provider: first, model: "x", plans: [pro, team]}
"""

WRONG = {
    "no YAML": "models: [",
    "a key twice": text("  small: {provider: first}\n  small: {provider: first}\n"),
    "no object": "- 1",
    "nothing": "",
    "no models": "providers: {first: {base_url: 'http://x'}}\nmodels: {}",
    "unknown provider": text("  small: {provider: nobody}"),
    "unknown plan": text("  small: {provider: first, plans: [gold]}"),
    "unknown key": text("  small: {provider: first, price: 3}"),
    "fall-back to nothing": text("  small: {provider: first, fallbacks: [gone]}"),
    "fall-back to itself": text("  small: {provider: first, fallbacks: [small]}"),
    "negative price": text("  small: {provider: first, prices: {input: -1}}"),
    "price in dollars": text("  small: {provider: first, prices: {input: 0.25}}"),
    "credential in the address": "providers: {first: {base_url: 'http://u:SECRET@x'}}\nmodels: {a: {provider: first}}",
    "another scheme": "providers: {first: {base_url: 'file:///etc'}}\nmodels: {a: {provider: first}}",
    "unknown wire": "providers: {first: {base_url: 'http://x', wire: soap}}\nmodels: {a: {provider: first}}",
    "litellm without vendor": "providers: {p: {base_url: 'http://x', wire: litellm}}\nmodels: {a: {provider: p}}",
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_catalog_stops_the_start_and_names_the_setting(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_CATALOG", given)
    with pytest.raises(SettingsError) as caught:
        load(ProxySettings)
    assert caught.value.facts["variable"] == "LLM_CATALOG"
    assert "SECRET" not in str(caught.value)


def test_the_reason_says_where() -> None:
    with pytest.raises(ValueError, match=r"models\.small\.prices\.input: .*greater than or equal to 0"):
        catalog.parse(WRONG["negative price"])


@pytest.mark.parametrize("name", ["LLM_KEYS", "TRANSLATOR_URL"])
def test_what_a_provider_needs_is_asked_for_at_the_start(name: str) -> None:
    wire = "openai" if name == "LLM_KEYS" else "anthropic"
    given = catalog.parse(f"providers: {{a: {{base_url: 'http://x', wire: {wire}}}}}\nmodels: {{m: {{provider: a}}}}")
    with pytest.raises(SettingsError) as caught:
        routes.plan(ProxySettings(llm_catalog=given))
    assert caught.value.facts["variable"] == name


def test_without_a_catalog_the_simple_settings_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_UPSTREAM_URL", "http://x/v1")
    with pytest.raises(SettingsError, match="LLM_UPSTREAM_KEY, or LLM_CATALOG"):
        load(ProxySettings)


def test_simple_settings_offer_what_the_plans_list_and_everybody_the_rest() -> None:
    made = catalog.simple("http://x/v1", {"small": "a", "large": "b", "gpt-9": "c"})
    assert {plan.value: made.of_plan(plan.value) for plan in PlanName} == {
        "starter": ["small", "gpt-9"], "pro": ["small", "large", "gpt-9"], "team": ["small", "large", "gpt-9"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("used", "cost"),
    [
        (Usage(), 0),
        (Usage(input=1), 1),
        (Usage(input=1_000_000, output=1_000_000), 2_250_000),
        (Usage(input=1_000_000, cached=400_000), 160_000),
        (Usage(output=1_000_000, reasoning=500_000), 2_500_000),
        (Usage(input=10, cached=1_000_000), 1),
    ],
)
def test_a_price_is_rounded_up_and_knows_cached_and_reasoning_tokens(used: Usage, cost: int) -> None:
    assert Prices(input=250_000, cached=25_000, output=2_000_000, reasoning=3_000_000).cost_microusd(used) == cost


async def test_models_are_those_of_the_customers_plan(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS) as at:
        assert [one.id async for one in at.openai.models.list()] == ["small", "large", "own/model:v2"]


async def test_another_plans_model_is_403_and_none_at_all_404(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS) as at:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await ask(at, "tuned")
        with pytest.raises(openai.NotFoundError) as unknown:
            await ask(at, "tiny-1")
    assert (refused.value.code, unknown.value.code) == ("model_not_allowed", "model_unknown")
    assert at.first.bodies == []


async def test_a_model_reaches_its_provider_under_the_providers_name_and_key(door: Door, dsn: str) -> None:
    async with opened(door, dsn, MODELS) as at:
        await ask(at, "small")
        await ask(at, "large")
    assert [body["model"] for body in at.first.parsed()] == ["tiny-1", "large"]
    assert set(at.first.keys) == {"Bearer key-of-first"}


@pytest.mark.parametrize("more", ["", "x" * outlines.SHORT_BYTES], ids=["short", "long"])
async def test_the_developers_words_stay_first_where_the_role_is_unknown(door: Door, dsn: str, more: str) -> None:
    told = [{"role": "developer", "content": "A" + more}, {"role": "system", "content": "B"},
            {"role": "user", "content": "C"}, {"role": "developer", "content": "D"}]  # fmt: skip
    async with opened(door, dsn, "  small: {provider: plain}\n  large: {provider: first}\n") as at:
        for model in ("small", "large"):
            await at.http.post("/v1/chat/completions", json={"model": model, "messages": told})
    assert [one["role"] for one in at.plain.parsed()[0]["messages"]] == ["system", "system", "user", "system"]
    assert [one["content"] for one in at.plain.parsed()[0]["messages"]] == ["A" + more, "B", "C", "D"]
    assert at.first.parsed()[0]["messages"] == told


async def ask(at: Opened, model: str) -> None:
    await at.openai.chat.completions.create(model=model, messages=[{"role": "user", "content": "oi"}])
