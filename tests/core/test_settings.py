"""A wrong environment stops the start with the variable's name, and never shows a value."""

from __future__ import annotations

import traceback

import pytest
from pydantic import Field, SecretStr, ValidationError, model_validator

from controller.core.settings import DatabaseSettings, Group, SettingsError, TokenSettings, load

VALUE = "hunter2-hunter2"


class Short(Group):
    """A secret that must be long, and a number."""

    unit_secret: SecretStr = Field(min_length=24)
    unit_number: int = 3


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTGRES_DSN", "POSTGRES_POOL", "TOKEN_PEPPER", "UNIT_SECRET", "UNIT_NUMBER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("group", "variable"), [(DatabaseSettings, "POSTGRES_DSN"), (TokenSettings, "TOKEN_PEPPER")])
def test_a_missing_secret_is_named(group: type[Group], variable: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(group)
    assert caught.value.facts["variable"] == variable


@pytest.mark.parametrize("value", ["0", "-1", "many", "5.5"])
def test_a_malformed_number_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://x")
    monkeypatch.setenv("POSTGRES_POOL", value)
    with pytest.raises(SettingsError) as caught:
        load(DatabaseSettings)
    assert caught.value.facts["variable"] == "POSTGRES_POOL"


@pytest.mark.parametrize("wrong", ["UNIT_SECRET", "UNIT_NUMBER"])
def test_not_even_the_traceback_of_a_failed_start_shows_a_value(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("UNIT_SECRET", "a-secret-that-is-long-enough")
    monkeypatch.setenv(wrong, VALUE)
    with pytest.raises(SettingsError) as caught:
        load(Short)
    told = "".join(traceback.format_exception(caught.value))
    assert wrong in told
    assert VALUE not in told


def test_a_loaded_secret_prints_stars_and_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_PEPPER", "p" * 32)
    loaded = load(TokenSettings)
    assert "p" * 32 not in f"{loaded!r} {loaded}"
    with pytest.raises(ValidationError):
        loaded.token_pepper = SecretStr("other")  # type: ignore[misc]


def test_a_pepper_that_is_too_short_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_PEPPER", "p" * 31)
    with pytest.raises(SettingsError):
        load(TokenSettings)


class Together(Group):
    first: int = 2
    last: int = 1

    @model_validator(mode="after")
    def _ordered(self) -> Together:
        if self.first > self.last:
            raise ValueError("FIRST is after LAST")
        return self


def test_what_is_wrong_only_together_names_the_group() -> None:
    with pytest.raises(SettingsError) as caught:
        load(Together)
    assert caught.value.facts == {"variable": "TOGETHER", "reason": "Value error, FIRST is after LAST"}
