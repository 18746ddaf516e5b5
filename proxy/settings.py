"""Settings of the token proxy."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, SecretStr

from controller.core.settings import Group


class ProxySettings(Group):
    """Where the proxy listens and whom it asks. The provider's key lives here and nowhere else."""

    proxy_host: str = "127.0.0.1"
    proxy_port: int = 8002
    llm_upstream_url: str
    """An OpenAI-compatible base address, ``/v1`` included."""

    llm_upstream_key: SecretStr
    llm_models: dict[str, str] = Field(default={"default": "default", "small": "small", "large": "large"})
    """Public model name → the upstream's name."""

    upstream_timeout: timedelta = Field(default=timedelta(seconds=600))
    """For a whole response. 600 s: long reasoning answers; a silent upstream is cut by ``upstream_idle``."""

    upstream_idle: timedelta = Field(default=timedelta(seconds=120))
    """The longest silence within a response."""
