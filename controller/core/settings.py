"""Settings: frozen groups read once from the environment at a process's start and passed down.

A group stands beside the code that it configures; here are the base and the groups of ``core`` itself. A secret
has no default: its absence stops the start and names the variable.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from controller.core.errors import Permanent


class SettingsError(Permanent):
    """Raised at start when a variable is missing or wrong; ``facts["variable"]`` names it."""


class Group(BaseSettings):
    """The base of every group: frozen, one environment variable a field, upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)


GroupT = TypeVar("GroupT", bound=Group)


def load(group: type[GroupT]) -> GroupT:
    """The group as the environment has it.

    Raises SettingsError that names the first missing or malformed variable, never its value.
    """
    try:
        return group()
    except ValidationError as exc:
        first = exc.errors(include_input=False)[0]
        # what is wrong with several variables together is nowhere in particular
        variable = str(first["loc"][0] if first["loc"] else group.__name__).upper()
        raise SettingsError("setting_wrong", variable=variable, reason=first["msg"]) from exc


class DatabaseSettings(Group):
    """Where the truth is."""

    postgres_dsn: SecretStr
    """``postgresql://user:password@host:port/name``."""

    postgres_pool: int = Field(default=5, ge=1)
    """Connections a process keeps. 5: a worker process has 4 threads and a loop of its own."""

    postgres_pool_wait: timedelta = Field(default=timedelta(seconds=10), gt=timedelta(0))
    """How long to wait for a free connection. 10 s: Stripe gives an answer to an event about as long."""


class QueueSettings(Group):
    """The Redis that carries Dramatiq's messages: AOF on, ``noeviction``, never shared with the cache."""

    queue_redis_url: SecretStr


class CacheSettings(Group):
    """The Redis for verdicts, buckets and fan-out: may be emptied at any time."""

    cache_redis_url: SecretStr


class SealingSettings(Group):
    """The key that seals secrets in Postgres."""

    sealing_key: SecretStr
    """32 random bytes in URL-safe base64. Losing it loses every sealed secret."""


class TokenSettings(Group):
    """The pepper under which tokens are looked up."""

    token_pepper: SecretStr = Field(min_length=32)
    """At least 32 characters. Kept out of Redis and Postgres: a dump of either confirms no guess."""
