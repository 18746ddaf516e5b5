"""Settings of the token proxy."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, IPvAnyNetwork, SecretStr

from controller.core.settings import Group
from proxy.terms import Terms


class LedgerSettings(Group):
    """Where admission is counted."""

    cache_redis_url: SecretStr | None = None
    """Apart from the queue if there are many boxes: Dramatiq looks through every key of its own. None: the queue's."""


class ProxySettings(Group):
    """Where the proxy listens and whom it asks. The provider's key lives here and nowhere else."""

    proxy_host: str = "127.0.0.1"
    proxy_port: int = 8002
    llm_upstream_url: str
    """An OpenAI-compatible base address, ``/v1`` included."""

    llm_upstream_key: SecretStr
    llm_models: dict[str, str] = Field(default={"default": "default", "small": "small", "large": "large"})
    """Public model name → the upstream's name."""

    llm_terms: dict[str, Terms] = Field(default={})
    """Public model name → its bounds and prices; a model that is not named has the defaults, and costs nothing."""

    upstream_timeout: timedelta = Field(default=timedelta(seconds=600))
    """For a whole response. 600 s: long reasoning answers; a silent upstream is cut by ``upstream_idle``."""

    upstream_idle: timedelta = Field(default=timedelta(seconds=120))
    """The longest silence within a response."""

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

    def terms(self, model: str) -> Terms:
        """What ``model`` allows and costs."""
        return self.llm_terms.get(model, _PLAIN)


_PLAIN = Terms()
