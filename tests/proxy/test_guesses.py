"""Guessing tokens gets slow, from wherever it comes, and costs nobody else anything."""

from __future__ import annotations

import ipaddress
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from controller.core import ids
from controller.domain import token_format
from proxy.guesses import FREE, MOST_ADDRESSES, Guesses, TooManyGuesses, address_of
from tests.proxy.conftest import Door

OURS = (ipaddress.ip_network("10.0.0.0/8"),)


async def guess(door: Door) -> httpx.Response:
    token = token_format.make("proxy", ids.new(), ids.secret())
    return await door.http.get("/v1/models", headers={"authorization": f"Bearer {token}"})


async def test_who_guesses_waits_and_who_knows_does_not(door: Door) -> None:
    assert (await door.ask()).status_code == 200
    statuses = [(await guess(door)).status_code for _ in range(FREE + 5)]
    assert (statuses[:FREE], statuses[-1]) == ([401] * FREE, 429)
    assert (await door.ask()).status_code == 200


def test_time_forgives_and_memory_is_bounded() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(FREE):
        guesses.wrong("a")
    with pytest.raises(TooManyGuesses):
        guesses.check("a")
    now[0] += 60
    guesses.check("a")
    for number in range(MOST_ADDRESSES + 5):
        guesses.wrong(str(number))
    assert len(guesses._seen) == MOST_ADDRESSES


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("1.2.3.4", "", "1.2.3.4"),
        ("1.2.3.4", "9.9.9.9", "1.2.3.4"),
        ("10.0.0.1", "9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "8.8.8.8, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("10.0.0.1", "nonsense", "nonsense"),
        ("2001:db8:1:2::5", "", "2001:db8:1:2::/64"),
    ],
)
def test_a_forwarded_address_counts_only_from_our_own_proxies(peer: str, forwarded: str, address: str) -> None:
    scope: dict[str, Any] = {
        "type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())],
    }  # fmt: skip
    assert address_of(Request(scope), OURS) == address
