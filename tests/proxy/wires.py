"""The stand-in of a model behind four wires, the translator and the proxy before it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import SecretStr

from controller.sandbox.llm.app import create_app
from proxy import translator
from proxy.leaving import Connection
from proxy.settings import TranslatorSettings
from tests.proxy.conftest import Door, proxy
from tests.sandbox.stripe.serving import serving

KEY = "the-providers-key"
TOKEN = "the-translators-token"
WIRES = ["openai", "anthropic", "gemini", "other"]
CALLS = [
    {"name": "weather", "arguments": {"city": 'São "Paulo" 🎉'}, "id": "call_a1"},
    {"name": "clock", "arguments": {}, "id": "call_b2"},
]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": one["name"], "parameters": {"type": "object", "properties": {}}}}
    for one in CALLS
]
MESSAGES: list[Any] = [
    {"role": "system", "content": "Rule one."},
    {"role": "developer", "content": "Rule two."},
    {"role": "user", "content": "Weather and time?"},
]


def catalog(base: str) -> str:
    """One model a wire, all of them the same stand-in; each falls back to nobody."""
    return f"""
providers:
  openai: {{base_url: '{base}/v1', speaks: [responses, embeddings, messages]}}
  anthropic: {{base_url: '{base}', wire: anthropic}}
  gemini: {{base_url: '{base}/v1beta', wire: gemini}}
  other: {{base_url: '{base}/v1', wire: litellm, vendor: deepseek}}
models:
  openai: {{provider: openai, plans: [pro]}}
  anthropic: {{provider: anthropic, model: claude-test-1, plans: [pro]}}
  gemini: {{provider: gemini, model: gemini-3-test, plans: [pro]}}
  other: {{provider: other, model: deepseek-test, plans: [pro]}}
  second: {{provider: anthropic, fallbacks: [openai], plans: [pro]}}
"""


def translating(model: str, **changed: Any) -> TranslatorSettings:
    """The translator's settings before the stand-in at ``model``."""
    keys = {name: SecretStr(KEY) for name in ("anthropic", "gemini", "other")}
    return TranslatorSettings(
        translator_token=SecretStr(TOKEN), llm_catalog=catalog(model), translated_keys=keys, **changed
    )


@dataclass(frozen=True)
class Wires:
    """The stand-in and the translator before it."""

    model: str
    translator: str

    def script(self, *replies: Any) -> None:
        """What the model answers next; its records are empty then."""
        httpx.post(f"{self.model}/_control/reset").raise_for_status()
        httpx.put(f"{self.model}/_control/script", json={"replies": replies}).raise_for_status()

    def requests(self) -> list[dict[str, Any]]:
        """What the model was asked."""
        listed: list[dict[str, Any]] = httpx.get(f"{self.model}/_control/requests").json()["requests"]
        return listed


@dataclass(frozen=True)
class Said:
    """What a client understood."""

    text: str | None
    calls: list[tuple[str, str, Any]]
    finish: str
    output: int
    cached: int
    reasoning: int


@pytest.fixture(scope="module")
def wires(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    folder: Path = tmp_path_factory.mktemp("model")
    with (
        serving(create_app(folder, KEY)) as model,
        serving(translator.create(translating(model, upstream_idle=2)), Connection) as base,
    ):
        yield Wires(model, base)


@pytest.fixture
async def client(wires: Wires, door: Door, dsn: str) -> AsyncIterator[openai.AsyncOpenAI]:
    given: dict[str, Any] = {
        "llm_catalog": catalog(wires.model), "llm_keys": {"openai": SecretStr(KEY)},
        "translator_url": f"{wires.translator}/v1", "translator_token": SecretStr(TOKEN),
    }  # fmt: skip
    with proxy(dsn, door.queue_url, door.provider.base, **given) as base:
        async with openai.AsyncOpenAI(api_key=door.token, base_url=f"{base}/v1", max_retries=0, timeout=30) as made:
            yield made


async def ask(client: openai.AsyncOpenAI, wire: str, stream: bool, **changed: Any) -> Said:
    given: dict[str, Any] = {
        "model": wire,
        "messages": MESSAGES,
        "tools": TOOLS,
        "max_completion_tokens": 4000,
        **changed,
    }
    if not stream:
        made = await client.chat.completions.create(**given)
    else:
        async with client.chat.completions.stream(**given, stream_options={"include_usage": True}) as parts:
            try:
                made = await parts.get_final_completion()
            except openai.LengthFinishReasonError as exc:
                made = exc.completion
    choice, usage = made.choices[0], made.usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    calls = [
        (c.id, c.function.name, json.loads(c.function.arguments))
        for c in choice.message.tool_calls or ()
        if c.type == "function"
    ]
    return Said(
        choice.message.content or None, calls, choice.finish_reason, usage.completion_tokens,
        usage.prompt_tokens_details.cached_tokens or 0, usage.completion_tokens_details.reasoning_tokens or 0,
    )  # fmt: skip
