"""Which models a sandbox sells: one for each wire of the stand-in, or those of the environment's own providers."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from controller.sandbox.state import State

_OWN = ("LLM_UPSTREAM_URL", "LLM_UPSTREAM_KEY", "LLM_MODELS")
"""One provider that speaks OpenAI's wire."""


@dataclass(frozen=True)
class Selling:
    """What the proxy is told of it, and the translator; None: nothing has to be translated."""

    proxy: dict[str, str]
    translator: dict[str, str] | None


def selling(state: State) -> Selling:
    """What the environment says (``LLM_UPSTREAM_URL``, or ``LLM_CATALOG`` and its keys), else the stand-in's wires."""
    if "LLM_UPSTREAM_URL" in os.environ and "LLM_CATALOG" not in os.environ:
        own = {name: os.environ[name] for name in _OWN if name in os.environ}
        return Selling({"LLM_UPSTREAM_KEY": state.llm_key, **own}, None)
    if "LLM_CATALOG" in os.environ:
        text, keys = os.environ["LLM_CATALOG"], os.environ.get("LLM_KEYS", "{}")
        translated = os.environ.get("TRANSLATED_KEYS", "{}")
    else:
        text, keys = _catalog(state.url("llm")), json.dumps({"openai": state.llm_key})
        translated = json.dumps(dict.fromkeys(("anthropic", "gemini"), state.llm_key))
    both = {"LLM_CATALOG": text, "TRANSLATOR_TOKEN": state.translator_token}
    url = {"TRANSLATOR_URL": f"{state.url('translator')}/v1", "LLM_KEYS": keys}
    theirs = {"TRANSLATOR_PORT": str(state.ports["translator"]), "TRANSLATED_KEYS": translated}
    return Selling(both | url, both | theirs)


def _catalog(llm: str) -> str:
    """The stand-in three times: what plans list over OpenAI's wire, and a model for everybody over each other one."""
    return f"""\
providers:
  openai: {{base_url: '{llm}/v1', speaks: [responses, embeddings, messages]}}
  anthropic: {{base_url: '{llm}', wire: anthropic}}
  gemini: {{base_url: '{llm}/v1beta', wire: gemini}}
models:
  default: {{provider: openai}}
  small: {{provider: openai}}
  large: {{provider: openai}}
  claude: {{provider: anthropic, model: claude-sandbox-1, plans: [starter, pro, team]}}
  gemini: {{provider: gemini, model: gemini-sandbox-1, plans: [starter, pro, team]}}
"""
