"""Who guesses tokens is slowed down, by address; who has a good one never notices."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import timedelta

from starlette.requests import Request

from controller.core.errors import Temporary

FREE = 10
"""Wrong tokens an address may show in a row before it has to wait."""

PER_SECOND = 0.2
"""Wrong tokens a second that are forgiven."""

MOST_ADDRESSES = 10_000
"""The longest ago seen is forgotten first: memory stays bounded whoever knocks."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TooManyGuesses(Temporary):
    """Raised when an address showed too many wrong tokens."""

    status = 429


class Guesses:
    """What this process saw of wrong tokens."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Return if a token from ``address`` that nobody has vouched for may be looked up. Raises TooManyGuesses."""
        debt = self._debt(address)
        if debt >= FREE:
            wait = (debt - FREE + 1) / PER_SECOND
            raise TooManyGuesses("too_many_wrong_tokens", retry_after=timedelta(seconds=wait))

    def wrong(self, address: str) -> None:
        """One wrong token more."""
        self._seen[address] = (min(self._debt(address) + 1, FREE * 2), self._clock())
        self._seen.move_to_end(address)
        if len(self._seen) > MOST_ADDRESSES:
            self._seen.popitem(last=False)

    def _debt(self, address: str) -> float:
        debt, at = self._seen.get(address, (0.0, 0.0))
        return max(0.0, debt - (self._clock() - at) * PER_SECOND)


def address_of(request: Request, trusted: Sequence[Network]) -> str:
    """Where the request comes from; ``X-Forwarded-For`` is read from the right, as far as trusted proxies wrote it."""
    address = request.client.host if request.client else ""
    told = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",") if part.strip()]
    while told and _is_in(address, trusted):
        address = told.pop()
    return address if not isinstance(_parsed(address), ipaddress.IPv6Address) else _network_of(address)


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _network_of(address: str) -> str:
    # who has one address of a /64 has them all
    return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
