"""Which models a sandbox sells, and what the proxy and the translator are told of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.domain.plans import PLANS
from controller.sandbox import services, state
from controller.sandbox.selling import selling
from controller.sandbox.services import Addresses, Service
from controller.sandbox.state import State
from proxy import catalog
from proxy.catalog import Catalog, Wire

OWN = ("LLM_UPSTREAM_URL", "LLM_UPSTREAM_KEY", "LLM_MODELS", "LLM_CATALOG", "LLM_KEYS", "TRANSLATED_KEYS")


@pytest.fixture(autouse=True)
def nothing_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OWN:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def made(tmp_path: Path) -> State:
    return state.load(tmp_path)


def sold(made: State) -> Catalog:
    return catalog.parse(selling(made).proxy["LLM_CATALOG"])


def found(made: State, folder: Path) -> dict[str, Service]:
    here = Addresses("", "", "", "", folder, folder, folder, folder)
    return {one.name: one for one in services.platform(made, here, folder, folder)}


def test_every_plan_sells_its_models_and_one_of_each_wire(made: State) -> None:
    for plan in PLANS.values():
        names = sold(made).of_plan(plan.name.value)
        wires = {sold(made).providers[sold(made).models[name].provider].wire for name in names}
        assert set(plan.models) <= set(names)
        assert wires == {Wire.OPENAI, Wire.ANTHROPIC, Wire.GEMINI}


def test_each_has_the_keys_of_the_providers_that_it_speaks_to(made: State, tmp_path: Path) -> None:
    one = found(made, tmp_path)
    assert one["proxy"].env["LLM_KEYS"] == f'{{"openai": "{made.llm_key}"}}'
    assert "TRANSLATED_KEYS" not in one["proxy"].env
    assert set(sold(made).keys(translated=True)) == {"anthropic", "gemini"}
    assert all(name in one["translator"].env["TRANSLATED_KEYS"] for name in ("anthropic", "gemini"))
    assert "LLM_KEYS" not in one["translator"].env


def test_nobody_waits_for_the_translator(made: State, tmp_path: Path) -> None:
    one = found(made, tmp_path)["translator"]
    assert (one.port, one.says) == (None, None)
    assert one.argv[0] == "nice"


def test_with_an_upstream_of_ones_own_nothing_is_translated(
    made: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_UPSTREAM_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("LLM_UPSTREAM_KEY", "own")
    one = found(made, tmp_path)
    assert (one["proxy"].env["LLM_UPSTREAM_KEY"], "LLM_CATALOG" in one["proxy"].env) == ("own", False)
    assert "translator" not in one


def test_with_a_catalog_of_ones_own_it_is_what_both_are_told(
    made: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LLM_CATALOG": "x", "LLM_KEYS": "y", "TRANSLATED_KEYS": "z"}.items():
        monkeypatch.setenv(name, value)
    one = found(made, tmp_path)
    assert (one["proxy"].env["LLM_CATALOG"], one["translator"].env["LLM_CATALOG"]) == ("x", "x")
    assert (one["proxy"].env["LLM_KEYS"], one["translator"].env["TRANSLATED_KEYS"]) == ("y", "z")
