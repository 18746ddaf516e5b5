"""The stand-in on a port of its own, and its control."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai

from controller.sandbox.llm.app import create_app
from tests.sandbox.stripe.serving import serving

KEY = "llm-test-key"
TLS = ssl.create_default_context()
"""Made once: each client would take half a second for its own."""


@dataclass(frozen=True)
class Model:
    """The model's address, a vendor's own client for it, plain HTTP to it, and its control."""

    base: str
    api: openai.OpenAI
    http: httpx.Client
    control: httpx.Client

    def script(self, *replies: dict[str, Any], repeat_last: bool = False) -> None:
        """From now on the model answers so."""
        body = {"replies": list(replies), "repeat_last": repeat_last}
        self.control.put("script", json=body).raise_for_status()

    def requests(self, after: int = 0) -> list[dict[str, Any]]:
        """What it recorded."""
        found: list[dict[str, Any]] = self.control.get("requests", params={"after": after}).json()["requests"]
        return found

    def rule(self, *steps: dict[str, Any] | str, **fits: Any) -> str:
        """It follows one more rule; the rule's id."""
        answer = self.control.post("rules", json={"steps": list(steps), **fits}).raise_for_status()
        return str(answer.json()["id"])

    def say(self, text: str) -> str | None:
        """Its answer to one human message."""
        made = self.api.chat.completions.create(model="small", messages=[{"role": "user", "content": text}])
        return made.choices[0].message.content


@contextmanager
def model_in(folder: Path) -> Iterator[Model]:
    """The model whose memory is ``folder`` while the block runs."""
    with (
        serving(create_app(folder, KEY)) as base,
        openai.DefaultHttpxClient(verify=TLS) as carrier,
        openai.OpenAI(api_key=KEY, base_url=f"{base}/v1", max_retries=0, timeout=10, http_client=carrier) as api,
        httpx.Client(base_url=base, timeout=10, verify=TLS) as http,
        httpx.Client(base_url=f"{base}/_control/", timeout=10, verify=TLS) as control,
    ):
        yield Model(base, api, http, control)
