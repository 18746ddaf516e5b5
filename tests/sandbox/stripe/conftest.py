"""A fresh account for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import stripe

from controller.sandbox.stripe.app import create_app
from tests.sandbox.stripe.account import Account
from tests.sandbox.stripe.receiver import Receiver, receiving
from tests.sandbox.stripe.serving import serving
from tests.sandbox.stripe.shops import Shop


@contextmanager
def account_in(folder: Path) -> Iterator[Account]:
    """The account kept in ``folder`` while the block runs."""
    with serving(create_app(folder)) as base, httpx.Client(base_url=f"{base}/_control/", timeout=10) as control:
        api = stripe.StripeClient("sk_test_contract", base_addresses={"api": base}, max_network_retries=0)
        yield Account(base, api, control)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    """An empty account."""
    with account_in(tmp_path) as opened:
        yield opened


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook receiver that answers 200."""
    with receiving() as opened:
        yield opened


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Stripe itself if ``STRIPE_API_KEY`` is a test key of theirs, else the stand-in."""
    key = os.environ.get("STRIPE_API_KEY", "")
    if key.startswith("sk_test_"):
        yield Shop(stripe.StripeClient(key), real=True)
        return
    with account_in(tmp_path) as account:
        yield Shop(account.api, real=False)
