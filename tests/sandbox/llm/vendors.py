"""The vendors' own clients, on the stand-in or, with a vendor's key in the environment, on the vendor itself.

``OPENAI_API_KEY``, ``ANTHROPIC_API_KEY`` and ``GEMINI_API_KEY`` choose the vendor; ``OPENAI_MODEL``,
``OPENAI_EMBEDDING_MODEL``, ``ANTHROPIC_MODEL`` and ``GEMINI_MODEL`` its models.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import anthropic
import openai
from google import genai
from google.genai import types

from tests.sandbox.llm.serving import KEY, TLS, Model

ClientT = TypeVar("ClientT")


@dataclass(frozen=True)
class Vendor(Generic[ClientT]):
    """A way to make clients with a key of one's choice, the right key, and the model to name."""

    connect: Callable[[str], ClientT]
    key: str
    model: str

    @cached_property
    def api(self) -> ClientT:
        """A client with the right key."""
        return self.connect(self.key)


def openais(stand_in: Model) -> Vendor[openai.OpenAI]:
    """OpenAI."""
    key = os.environ.get("OPENAI_API_KEY")
    base = None if key else f"{stand_in.base}/v1"
    model = os.environ.get("OPENAI_MODEL", "gpt-4.1-mini")

    def connect(one: str) -> openai.OpenAI:
        carrier = openai.DefaultHttpxClient(verify=TLS)
        return openai.OpenAI(api_key=one, base_url=base, max_retries=0, timeout=60, http_client=carrier)

    return Vendor(connect, key or KEY, model)


def anthropics(stand_in: Model) -> Vendor[anthropic.Anthropic]:
    """Anthropic."""
    key = os.environ.get("ANTHROPIC_API_KEY")
    base = None if key else stand_in.base
    model = os.environ.get("ANTHROPIC_MODEL", "claude-haiku-4-5")

    def connect(one: str) -> anthropic.Anthropic:
        carrier = anthropic.DefaultHttpxClient(verify=TLS)
        return anthropic.Anthropic(api_key=one, base_url=base, max_retries=0, timeout=60, http_client=carrier)

    return Vendor(connect, key or KEY, model)


def googles(stand_in: Model) -> Vendor[genai.Client]:
    """Google's Gemini."""
    key = os.environ.get("GEMINI_API_KEY")
    options = types.HttpOptions(base_url=None if key else stand_in.base, client_args={"verify": TLS})
    model = os.environ.get("GEMINI_MODEL", "gemini-2.5-flash")
    return Vendor(lambda one: genai.Client(api_key=one, http_options=options), key or KEY, model)
