"""A stand-in at an address of its own: whom it listens to, and what it gives out as its address."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import stripe

from controller.devcluster.vendors import open_shop
from controller.domain.plans import PLANS, Currency, price_key
from controller.sandbox.serving import Published, options
from controller.sandbox.stripe.app import create_app
from tests.sandbox.stripe.serving import serving

PUBLIC = "http://localhost:30082"


async def test_links_bear_the_public_address(tmp_path: Path) -> None:
    with serving(Published(create_app(tmp_path), PUBLIC)) as base:
        await open_shop(base, "sk_test_shop")
        api = stripe.StripeClient("sk_test_shop", base_addresses={"api": base})
        (price,) = api.v1.prices.list({"lookup_keys": [price_key(next(iter(PLANS)), Currency.BRL)]}).data
        asked = {
            "mode": "subscription",
            "line_items": [{"price": price.id, "quantity": 1}],
            "success_url": "http://a/b",
        }
        session = api.v1.checkout.sessions.create(asked)  # type: ignore[arg-type]
    assert (session.url or "").startswith(f"{PUBLIC}/c/pay/")


def told(monkeypatch: pytest.MonkeyPatch, *more: str, required: tuple[str, ...] = ()) -> dict[str, object]:
    monkeypatch.setattr(sys, "argv", ["stand-in", "--port", "1", "--data", "folder", *more])
    return vars(options("stripe", *required))


def test_a_stand_in_listens_to_this_machine_alone_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (told(monkeypatch)["host"], told(monkeypatch, "--host", "0.0.0.0")["host"]) == ("127.0.0.1", "0.0.0.0")
    assert told(monkeypatch)["public_url"] is None


def test_what_a_stand_in_cannot_do_without_stops_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, "--key", "k", required=("key",))["key"] == "k"
    with pytest.raises(SystemExit):
        told(monkeypatch, required=("key",))
