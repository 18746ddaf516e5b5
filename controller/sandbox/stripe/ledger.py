"""Everything this account holds at Stripe, as documents by object type and id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from controller.core import clock, ids
from controller.sandbox.documents import Document, Documents
from controller.sandbox.stripe import faults
from controller.sandbox.stripe.params import Listing

KINDS = {
    "cus": "customer",
    "prod": "product",
    "price": "price",
    "pm": "payment_method",
    "cs": "checkout.session",
    "plink": "payment_link",
    "sub": "subscription",
    "in": "invoice",
    "evt": "event",
    "we": "webhook_endpoint",
    "pi": "payment_intent",
    "ch": "charge",
    "re": "refund",
    "du": "dispute",
    "di": "discount",
    "promo": "promotion_code",
    "sub_sched": "subscription_schedule",
    "bpc": "billing_portal.configuration",
    "clock": "test_helpers.test_clock",
}
"""The object type that an id's prefix stands for; the longest that fits counts."""


@dataclass(frozen=True)
class Call:
    """The request being served: what events say of their cause, and our own address for hosted pages."""

    base_url: str
    request_id: str | None = None
    idempotency_key: str | None = None
    test_clock: str | None = None


class Ledger:
    """The account's objects; one request at a time, each in one transaction."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.waiting: dict[str, Document] | None = None
        self.waiting_since = 0
        known = documents.get("address", "only") or {"base_url": ""}
        self.call = Call(base_url=known["base_url"])

    def begin(self, call: Call) -> None:
        """From here on ``call`` is what is being served; its address is kept for hosted pages made later by time."""
        if call.base_url != self.call.base_url:
            self.documents.put("address", "only", {"base_url": call.base_url})
        self.call = call

    def idle(self) -> None:
        """What is done from here on is done by time alone and not by any request."""
        self.call = Call(base_url=self.call.base_url)

    def keep_time_of(self, customer: Document) -> None:
        """Until the next request ``now()`` is the customer's time: a test clock's if it was made with one."""
        self.call = replace(self.call, test_clock=customer.get("test_clock"))

    def new_id(self, prefix: str) -> str:
        """A fresh id such as ``cus_01k…``."""
        return f"{prefix}_{ids.new()}"

    def now(self) -> int:
        """Unix time in seconds: of the test clock that is followed, else the account's, which may run ahead."""
        if self.call.test_clock:
            return int(self.get("test_helpers.test_clock", self.call.test_clock)["frozen_time"])
        ahead = self.documents.get("clock", "only") or {"ahead_seconds": 0}
        return int(clock.now().timestamp()) + int(ahead["ahead_seconds"])

    def save(self, item: Document) -> Document:
        """Write an object under its own type and id; return it."""
        self.documents.put(item["object"], item["id"], item)
        return item

    def get(self, kind: str, key: str, *, param: str | None = None) -> Document:
        """The object.

        Raises Fault if it is not there: 404, or 400 when a parameter named it.
        """
        found = self.documents.get(kind, key)
        if found is None:
            raise faults.missing(kind, key, param=param or "id", status=400 if param else 404)
        return found

    def live(self, kind: str, key: str, *, param: str | None = None) -> Document:
        """As ``get``, and a deleted object counts as missing."""
        found = self.get(kind, key, param=param)
        if found.get("deleted"):
            raise faults.missing(kind, key, param=param or "id", status=400 if param else 404)
        return found

    def all(self, kind: str, where: Mapping[str, str | int | None] | None = None) -> list[Document]:
        """Every object of the type that matches, oldest first."""
        return self.documents.find(kind, where)

    def page(
        self,
        kind: str,
        url: str,
        listing: Listing,
        where: Mapping[str, str | int | None] | None = None,
        keep: Callable[[Document], bool] | None = None,
    ) -> Document:
        """One page of Stripe's list object, newest first, of what matches; deleted objects are left out.

        Raises Fault for a cursor that is no object's id.
        """
        cursor = listing.starting_after or listing.ending_before
        if cursor is not None:
            name = "starting_after" if listing.starting_after else "ending_before"
            self.get(kind, cursor, param=name)
        rows = self.documents.find(
            kind,
            {"deleted": None, **(where or {})},
            before=listing.starting_after,
            after=None if listing.starting_after else listing.ending_before,
            newest_first=cursor is None or bool(listing.starting_after),
            limit=-1 if keep else listing.limit + 1,
        )
        kept = [row for row in rows if keep is None or keep(row)]
        data = kept[: listing.limit]
        if cursor and not listing.starting_after:
            data.reverse()
        return listed(data, url, has_more=len(kept) > listing.limit)


def kind_of(key: str) -> str | None:
    """The object type that the id's prefix stands for, or None if it is no id of ours."""
    fitting = [prefix for prefix in KINDS if key.startswith(f"{prefix}_")]
    return KINDS[max(fitting, key=len)] if fitting else None


def listed(data: list[Document], url: str, *, has_more: bool = False) -> Document:
    """Stripe's list object around ``data``."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}
