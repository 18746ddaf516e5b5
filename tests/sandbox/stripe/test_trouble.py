"""Requests under fire: failures, lost answers, repeats at the same time, and a kill in between."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from tests.sandbox.stripe.account import Account
from tests.sandbox.stripe.serving import eventually

ONCE: Any = {"idempotency_key": "once"}


@contextmanager
def process_in(folder: Path) -> Iterator[tuple[Account, subprocess.Popen[bytes]]]:
    """The stand-in as a process of its own over ``folder``, killed at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "controller.sandbox.stripe", "--port", str(port), "--data", str(folder)]
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
        httpx.Client(base_url=f"{base}/_control/", timeout=10) as control,
    ):
        try:
            eventually(lambda: _answers(control), seconds=60)
            api = stripe.StripeClient("sk_test_x", base_addresses={"api": base}, max_network_retries=0)
            yield Account(base, api, control), process
        finally:
            process.kill()


def _answers(control: httpx.Client) -> bool:
    try:
        return control.get("ready").status_code == 200
    except httpx.TransportError:
        return False


def test_an_answer_that_was_lost_to_a_kill_is_given_again_and_nothing_is_done_twice(tmp_path: Path) -> None:
    with process_in(tmp_path) as (account, process):
        price = account.price()
        customer = account.customer()
        account.trouble(lose_answers=1)
        fields: Any = {"customer": customer, "items": [{"price": price}]}
        with pytest.raises(stripe.APIConnectionError):
            account.api.v1.subscriptions.create(fields, ONCE)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with process_in(tmp_path) as (account, _):
        again = account.api.v1.subscriptions.create(fields, ONCE)
        assert again.last_response is not None
        assert again.last_response.headers["idempotent-replayed"] == "true"
        assert [each.id for each in account.api.v1.subscriptions.list().data] == [again.id]
        fields["description"] = "other"
        with pytest.raises(stripe.IdempotencyError):
            account.api.v1.subscriptions.create(fields, ONCE)


def test_a_lost_answer_is_repaired_by_the_librarys_own_retry(account: Account) -> None:
    patient = stripe.StripeClient(
        "sk_test_x",
        base_addresses={"api": account.base},
        http_client=stripe.HTTPXClient(allow_sync_methods=True),
        max_network_retries=2,
    )
    account.trouble(lose_answers=1)
    made = patient.v1.customers.create({"name": "Ana"})
    assert [each.id for each in account.api.v1.customers.list().data] == [made.id]


def test_the_same_key_at_the_same_time_is_refused_and_then_answered(account: Account) -> None:
    account.trouble(delay_ms=400)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(account.api.v1.customers.create, {"name": "Ana"}, ONCE) for _ in range(2)]
        problems = [each.exception() for each in both]
    [refused] = [each for each in problems if each]
    assert isinstance(refused, stripe.StripeError)
    assert isinstance(refused.json_body, dict)
    assert (refused.http_status, refused.json_body["error"]["code"]) == (409, "idempotency_key_in_use")
    account.trouble(delay_ms=0)
    made = account.api.v1.customers.create({"name": "Ana"}, ONCE)
    assert [each.id for each in account.api.v1.customers.list().data] == [made.id]


@pytest.mark.parametrize(("kind", "error"), [("fail", stripe.APIError), ("limit", stripe.RateLimitError)])
def test_a_failure_does_nothing_and_is_over_by_its_count(
    account: Account, kind: str, error: type[stripe.StripeError]
) -> None:
    account.trouble(**{kind: 1})
    with pytest.raises(error):
        account.api.v1.customers.create({"name": "Ana"})
    assert account.api.v1.customers.list().data == []


def test_a_plain_value_cannot_be_expanded(account: Account) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        account.api.v1.subscriptions.retrieve(account.subscribe(account.price()).id, {"expand": ["status"]})


def test_an_address_that_is_none_is_refused(account: Account) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        account.session(account.price(), success_url="javascript:alert(1)")
    assert (refused.value.code, refused.value.param) == ("url_invalid", "success_url")
