"""What happens by itself as time passes: periods turn, trials end, invoices are tried again, sessions expire."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from controller.core import clock
from controller.core import log as logs
from controller.sandbox.documents import Document
from controller.sandbox.stripe import events, invoices, payments, purchases, renewals, subscriptions
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger

log = logs.get(__name__)

TRIAL_NOTICE_SECONDS = 3 * 86_400
INCOMPLETE_SECONDS = 23 * 3600
"""How long a first payment may be missing before its subscription expires."""
LONGEST_LEAP_SECONDS = 5 * 366 * 86_400


@dataclass(frozen=True, order=True)
class Due:
    """Something that happens to an object at a time."""

    at: int
    kind: str
    key: str


def catch_up(ledger: Ledger) -> None:
    """Everything that fell due by the account's time has happened, each thing in a transaction of its own.

    What cannot happen is logged and holds up nothing else: the sender looks here before it sends. Test
    clocks are moved by their owners alone.
    """
    ledger.idle()
    _run(ledger, None, ledger.now(), lambda at: None, skips=True)


def advance_account(ledger: Ledger, to: int) -> int:
    """The account's time is ``to``, and what fell due on the way happened at its own time; how many things did.

    Raises Fault for a time that is past, or more than five years ahead.
    """
    _must_be_ahead(to - ledger.now())

    def set_time(at: int) -> None:
        ahead = at - int(clock.now().timestamp())
        ledger.documents.put("clock", "only", {"ahead_seconds": max(ahead, 0)})

    done = _run(ledger, None, to, lambda at: set_time(at) if at > ledger.now() else None)
    set_time(to)
    return done


def advance_clock(ledger: Ledger, test_clock: Document, to: int) -> Document:
    """The test clock at ``to``; what fell due for its customers on the way happened at its own time."""
    _must_be_ahead(to - test_clock["frozen_time"])
    key = test_clock["id"]

    def set_time(at: int) -> None:
        current = ledger.get("test_helpers.test_clock", key)
        ledger.save(current | {"frozen_time": max(at, current["frozen_time"])})

    _run(ledger, key, to, set_time)
    set_time(to)
    return ledger.get("test_helpers.test_clock", key)


def _must_be_ahead(seconds: int) -> None:
    if seconds <= 0:
        raise Fault("Time can only be advanced.", param="frozen_time")
    if seconds > LONGEST_LEAP_SECONDS:
        raise Fault("Time can be advanced by five years at a time.", param="frozen_time")


def _run(
    ledger: Ledger, test_clock: str | None, until: int, set_time: Callable[[int], None], *, skips: bool = False
) -> int:
    ledger.keep_time_of({"test_clock": test_clock})
    queue = [due for due in _all(ledger, test_clock) if due.at <= until]
    heapq.heapify(queue)
    done = 0
    while queue:
        due = heapq.heappop(queue)
        item = ledger.documents.get(due.kind, due.key)
        if item is None or due not in _of(ledger, item):
            continue
        try:
            with ledger.documents.transaction():
                set_time(due.at)
                after_it = _happen(ledger, item)
        except (Fault, ArithmeticError, LookupError, TypeError, ValueError) as exc:
            if not skips:
                raise
            problem = exc.error if isinstance(exc, Fault) else repr(exc)
            log.error("stripe.due_failed", kind=due.kind, key=due.key, error=problem)
            continue
        for touched in after_it:
            for after in _of(ledger, touched):
                if after.at <= until and after not in queue:
                    heapq.heappush(queue, after)
        done += 1
    return done


def _all(ledger: Ledger, test_clock: str | None) -> Iterator[Due]:
    wanted: list[tuple[str, dict[str, str | int | None]]] = [
        ("subscription", {"test_clock": test_clock}),
        ("invoice", {"test_clock": test_clock, "status": "draft"}),
        ("invoice", {"test_clock": test_clock, "status": "open"}),
    ]
    if test_clock is None:
        wanted.append(("checkout.session", {"status": "open"}))
        wanted.append(("checkout.session", {"status": "complete", "payment_status": "unpaid"}))
    for kind, where in wanted:
        for item in ledger.all(kind, where):
            yield from _of(ledger, item)


def _of(ledger: Ledger, item: Document) -> list[Due]:
    at = _TIMES[item["object"]](ledger, item)
    return [Due(at, item["object"], item["id"])] if at is not None else []


def _subscription_time(ledger: Ledger, item: Document) -> int | None:
    end = subscriptions.period_end(item)
    if subscriptions.is_over(item) or item["status"] == "paused":
        return None
    if item["status"] == "incomplete":
        waits = payments.is_on_its_way(ledger, item["latest_invoice"])
        return None if waits else int(item["created"]) + INCOMPLETE_SECONDS
    times: list[int | None] = [end, item["cancel_at"], (item["pause_collection"] or {}).get("resumes_at")]
    if item["status"] == "trialing" and not ledger.documents.get("trial_notice", item["id"]):
        times.append(max(item["trial_end"] - TRIAL_NOTICE_SECONDS, item["created"]))
    return min(time for time in times if time is not None)


def _invoice_time(_: Ledger, item: Document) -> int | None:
    if not item["auto_advance"]:
        return None
    if item["status"] == "draft":
        return _time(item["automatically_finalizes_at"])
    return _time(item["next_payment_attempt"]) if item["status"] == "open" else None


def _session_time(ledger: Ledger, item: Document) -> int | None:
    return _time(item["expires_at"]) if item["status"] == "open" else purchases.voucher_end(ledger, item)


def _time(value: int | None) -> int | None:
    return value


_TIMES: dict[str, Callable[[Ledger, Document], int | None]] = {
    "subscription": _subscription_time,
    "invoice": _invoice_time,
    "checkout.session": _session_time,
}


def _happen(ledger: Ledger, item: Document) -> list[Document]:
    """Do what is due; what was touched, as it is now."""
    if item["object"] == "subscription":
        _step_subscription(ledger, item)
    elif item["object"] == "invoice":
        _step_invoice(ledger, item)
    else:
        purchases.let_pass(ledger, item)
    after = ledger.get(item["object"], item["id"])
    subscription = ledger.documents.get("subscription", _subscription_id(after) or "")
    if subscription is None:
        return [after]
    latest = ledger.documents.get("invoice", subscription["latest_invoice"] or "")
    return [each for each in (after, subscription, latest) if each is not None]


def _subscription_id(item: Document) -> str | None:
    if item["object"] == "invoice":
        return invoices.subscription_of(item)
    found: str | None = item["id"] if item["object"] == "subscription" else item["subscription"]
    return found


def _step_subscription(ledger: Ledger, item: Document) -> None:
    now = ledger.now()
    pause = item["pause_collection"] or {}
    if item["status"] == "incomplete":
        subscriptions.expire(ledger, item)
    elif item["cancel_at"] is not None and item["cancel_at"] <= now:
        subscriptions.end(ledger, item, item["cancellation_details"]["reason"])
    elif pause.get("resumes_at") and pause["resumes_at"] <= now:
        subscriptions.change(ledger, item, pause_collection=None)
    elif item["status"] == "trialing" and not ledger.documents.get("trial_notice", item["id"]):
        ledger.documents.put("trial_notice", item["id"], {"at": now})
        events.emit(ledger, "customer.subscription.trial_will_end", item)
    else:
        renewals.turn(ledger, item)


def _step_invoice(ledger: Ledger, item: Document) -> None:
    if item["status"] == "draft":
        renewals.finalize_due(ledger, item)
    else:
        renewals.try_again(ledger, item)
