"""The catalog: every provider says in both languages how it is used."""

from __future__ import annotations

import itertools

import pytest

from controller.domain import providers
from controller.domain.providers import PROVIDERS, Status, Use
from controller.gitops.manifests import Connection


def test_the_six_providers_are_there() -> None:
    assert set(PROVIDERS) == {"github", "google", "slack", "linear", "notion", "jira"}


@pytest.mark.parametrize(("key", "status"), list(itertools.product(PROVIDERS, Status)))
def test_each_says_how_in_both_languages(key: str, status: Status) -> None:
    texts = [providers.how(PROVIDERS[key], status, locale) for locale in ("en", "pt-BR")]
    assert len(set(texts)) == 2
    assert not any("{" in text for text in texts)
    assert all((PROVIDERS[key].name if status != Status.CONNECTED else key) in text for text in texts)


@pytest.mark.parametrize("key", PROVIDERS)
def test_a_native_provider_names_its_variable_and_an_mcp_one_its_tools(key: str) -> None:
    provider = PROVIDERS[key]
    assert (provider.variable is not None) == (provider.use == Use.NATIVE)
    assert (provider.variable or f"{key}__") in provider.how["en"]


@pytest.mark.parametrize("key", PROVIDERS)
def test_a_key_is_what_a_manifest_may_carry(key: str) -> None:
    assert Connection(provider=key, version=1).provider == PROVIDERS[key].key


def test_a_language_that_we_do_not_have_is_answered_in_english() -> None:
    linear = PROVIDERS["linear"]
    assert providers.how(linear, Status.CONNECTED, "fr") == providers.how(linear, Status.CONNECTED, "en")
