"""Settings of the token proxy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, IPvAnyNetwork, SecretStr, model_validator
from pydantic_settings import NoDecode

from controller.core.settings import Group
from proxy import catalog
from proxy.catalog import SIMPLE, Catalog


def _catalog(given: Any) -> Any:
    return catalog.parse(given) if isinstance(given, str) else given


CatalogText = Annotated[Catalog, NoDecode, BeforeValidator(_catalog)]
"""A setting that is the catalog's YAML."""


class LedgerSettings(Group):
    """Where admission is counted."""

    cache_redis_url: SecretStr | None = None
    """Apart from the queue if there are many boxes: Dramatiq looks through every key of its own. None: the queue's."""


class ProxySettings(Group):
    """Where the proxy listens and whom it asks. The provider's key lives here and nowhere else."""

    proxy_host: str = "127.0.0.1"
    proxy_port: int = 8002
    llm_upstream_url: str | None = None
    """An OpenAI-compatible base address, ``/v1`` included: the one provider, where no catalog names others."""

    llm_upstream_key: SecretStr | None = None
    llm_models: dict[str, str] = Field(default={"default": "default", "small": "small", "large": "large"})
    """Public model name → the upstream's name; with LLM_UPSTREAM_URL."""

    llm_catalog: CatalogText | None = None
    """The providers and models as YAML (``proxy/catalog.py``), instead of LLM_UPSTREAM_URL."""

    llm_keys: dict[str, SecretStr] = Field(default={})
    """The key of each provider that is asked directly, as JSON; with LLM_CATALOG."""

    translator_url: str | None = None
    """``openclaw-cloud translator``, ``/v1`` included; needed if the catalog has a provider that it translates for."""

    translator_token: SecretStr | None = None
    """What the translator lets in; it has the keys of those providers."""

    upstream_timeout: timedelta = Field(default=timedelta(seconds=600))
    """For a whole response. 600 s: long reasoning answers; a stream that falls silent is cut by ``upstream_idle``."""

    upstream_idle: timedelta = Field(default=timedelta(seconds=35), gt=timedelta(0))
    """The longest silence of a stream, before its first byte and within; a comment or a ping is no silence. 35 s: a
    box's gateway gives up after 60, and with ``upstream_hesitation`` before it hears our error first. More for models
    that think longer without a word, and then in the gateway too. An answer in one piece is silent until it is there:
    ``upstream_timeout`` alone."""

    upstream_hesitation: timedelta = Field(default=timedelta(seconds=20), gt=timedelta(0))
    """How long a stream's first byte may take while another provider could be asked. 20 s: the gateway waits longer."""

    rate_per_second: float = Field(default=10, gt=0)
    """Calls a second of one customer in the long run, over all replicas. 10: a loop that went wild, not a person."""

    rate_burst: int = Field(default=10, ge=1)
    """Calls that may come at once."""

    status_fresh: timedelta = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """How long a box's state is believed without hearing of a change. 5 s: half of what a dead token may have left."""

    quota_fresh: timedelta = Field(default=timedelta(seconds=15), gt=timedelta(0))
    """How often Redis' view of a busy box is compared with Postgres': what a dead proxy held comes back so soon."""

    proxy_lease: timedelta = Field(default=timedelta(seconds=30), gt=timedelta(0))
    """A proxy that was not heard of for so long is dead, and its open calls are settled. 30 s: longer than Postgres
    takes to fail over."""

    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Networks whose ``X-Forwarded-For`` is believed, as JSON. None: whoever connects is who calls."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.llm_catalog is None and (self.llm_upstream_url is None or self.llm_upstream_key is None):
            raise ValueError("LLM_UPSTREAM_URL and LLM_UPSTREAM_KEY, or LLM_CATALOG")
        return self

    @property
    def catalog(self) -> Catalog:
        """What LLM_CATALOG says, or what the simple settings make."""
        return self.llm_catalog or catalog.simple(self.llm_upstream_url or "", self.llm_models)

    @property
    def keys(self) -> Mapping[str, SecretStr]:
        """Of the providers that are asked directly."""
        simple = {} if self.llm_upstream_key is None else {SIMPLE: self.llm_upstream_key}
        return {**simple, **self.llm_keys}


class TranslatorSettings(Group):
    """Where the translator listens and whom it asks. The keys of the providers that it speaks to live here alone."""

    translator_host: str = "127.0.0.1"
    translator_port: int = 8004
    translator_token: SecretStr
    """What the proxy shows."""

    llm_catalog: CatalogText
    """As the proxy's."""

    translated_keys: dict[str, SecretStr]
    """The key of each provider whose wire is not OpenAI's, as JSON."""

    translator_most: int = Field(default=200, ge=1)
    """Calls at the same time; one more is 503, and the proxy asks the next provider. 200: a process translates about
    30 000 pieces a second, and a stream has some tens."""

    upstream_timeout: timedelta = Field(default=timedelta(seconds=600))
    """For a whole response; as the proxy's."""

    upstream_idle: timedelta = Field(default=timedelta(seconds=35), gt=timedelta(0))
    """The longest silence of a stream; as the proxy's."""
