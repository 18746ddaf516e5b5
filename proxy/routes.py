"""Where a call may go: the catalog's models with the addresses and keys that open them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from controller.core.settings import SettingsError
from proxy.catalog import Catalog, Endpoint, Model
from proxy.settings import ProxySettings


@dataclass(frozen=True)
class Route:
    """One way for a call of the model ``name``; ``own_name`` is what stands in the body there."""

    name: str
    own_name: str
    model: Model
    provider: str
    base_url: str
    key: SecretStr
    developer: bool
    """Whether the role ``developer`` is known there."""

    limit: str
    """How an answer's limit is spelled there."""

    endpoints: frozenset[Endpoint]


@dataclass(frozen=True)
class Routes:
    """All of a process's. Each model's own comes first, then those that take its place."""

    catalog: Catalog
    of: Mapping[str, tuple[Route, ...]]

    def to(self, name: str, endpoint: Endpoint) -> tuple[Route, ...]:
        """The ways that a call of ``endpoint`` may take."""
        return tuple(route for route in self.of[name] if endpoint in route.endpoints)

    def secrets(self) -> set[str]:
        """Every key that is sent along."""
        return {route.key.get_secret_value() for routes in self.of.values() for route in routes} - {""}


def plan(settings: ProxySettings) -> Routes:
    """The routes that the settings make.

    Raises SettingsError if a provider's key is missing, or the translator that one needs.
    """
    catalog, keys = settings.catalog, settings.keys
    for provider, entry in catalog.keys(translated=False).items():
        if entry not in keys:
            raise SettingsError("setting_wrong", variable="LLM_KEYS", reason=f"no {entry}, which {provider} needs")
    if catalog.keys(translated=True) and (settings.translator_url is None or settings.translator_token is None):
        raise SettingsError(
            "setting_wrong", variable="TRANSLATOR_URL", reason="the catalog has a provider that must be translated"
        )
    return Routes(catalog, {name: tuple(_routes(settings, name)) for name in catalog.models})


def _routes(settings: ProxySettings, name: str) -> list[Route]:
    made = []
    for one, model, provider in settings.catalog.attempts(name):
        if provider.translated:
            base, key = str(settings.translator_url).rstrip("/"), settings.translator_token or SecretStr("")
        else:
            base, key = provider.base_url, settings.keys[provider.key or model.provider]
        endpoints = frozenset(endpoint for endpoint in Endpoint if provider.has(endpoint))
        own = one if provider.translated else model.model or one
        known = provider.developer or provider.translated
        made.append(Route(name, own, model, model.provider, base, key, known, provider.limit, endpoints))
    return made
