"""Discounts: a coupon as it holds for one subscription, and what it takes off an invoice."""

from __future__ import annotations

from collections.abc import Sequence

from controller.sandbox.documents import Document
from controller.sandbox.stripe import coupons, events, periods
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Params


class DiscountChoice(Params):
    """One discount to give: by its coupon, by a promotion code's id, or one that is there already."""

    coupon: str | None = None
    promotion_code: str | None = None
    discount: str | None = None


def check(ledger: Ledger, choices: Sequence[DiscountChoice], amount: int, customer: str | None) -> list[Document]:
    """The coupons that the choices lead to, in their order, none of them used yet.

    Raises Fault for a choice that does not hold for this ``amount`` and customer.
    """
    return [ledger.get("coupon", _coupon_id(ledger, each, amount, customer), param="discounts") for each in choices]


def give(
    ledger: Ledger, choices: Sequence[DiscountChoice], subscription: Document, *, session: str | None = None
) -> list[str]:
    """The ids of the subscription's discounts, new ones announced. Raises Fault for one that may not be had."""
    amount = sum(item["price"]["unit_amount"] * item["quantity"] for item in subscription["items"]["data"])
    return [_given(ledger, each, subscription, amount, session) for each in choices]


def current(ledger: Ledger, subscription: Document) -> list[Document]:
    """The subscription's discounts that hold now."""
    found = [ledger.get("discount", key) for key in subscription["discounts"]]
    return [each for each in found if each["end"] is None or each["end"] > ledger.now()]


def lower(ledger: Ledger, lines: list[Document], given: Sequence[Document], currency: str) -> list[Document]:
    """The lines, each with what the discounts take off it; never below nothing."""
    for discount in given:
        coupon = ledger.get("coupon_terms", discount["id"])
        eligible = [each for each in lines if each["discountable"] and _covers(coupon, each)]
        for each, off in zip(eligible, _shares(coupon, eligible, currency), strict=True):
            each["discount_amounts"] = [*each["discount_amounts"], {"amount": off, "discount": discount["id"]}]
    return lines


def taken_off(coupon: Document, amount: int) -> int:
    """What one coupon takes off ``amount``."""
    if coupon["percent_off"] is not None:
        return round(amount * float(coupon["percent_off"]) / 100)
    return min(int(coupon["amount_off"]), amount)


def totals(lines: list[Document]) -> list[Document]:
    """What each discount takes off the whole invoice."""
    sums: dict[str, int] = {}
    for each in lines:
        for part in each["discount_amounts"]:
            sums[part["discount"]] = sums.get(part["discount"], 0) + part["amount"]
    return [{"amount": amount, "discount": key} for key, amount in sums.items()]


def left_after(ledger: Ledger, subscription: Document, invoice: Document) -> list[str]:
    """The ids of the subscription's discounts that go on after this invoice: one for a single time is used up."""
    used = [part["discount"] for part in invoice["total_discount_amounts"]]
    over = {key for key in used if ledger.get("coupon_terms", key)["duration"] == "once"}
    living = {each["id"] for each in current(ledger, subscription)}
    return [key for key in subscription["discounts"] if key in living - over]


def end(ledger: Ledger, subscription: Document) -> None:
    """The subscription's discounts are taken away, each with its event."""
    for key in subscription["discounts"]:
        ended = ledger.get("discount", key) | {"end": ledger.now()}
        events.emit(ledger, "customer.discount.deleted", ledger.save(ended))


def _coupon_id(ledger: Ledger, choice: DiscountChoice, amount: int, customer: str | None) -> str:
    if choice.coupon:
        return choice.coupon
    if not choice.promotion_code:
        raise Fault("A discount needs a coupon or a promotion code.", param="discounts")
    code = ledger.get("promotion_code", choice.promotion_code, param="discounts[0][promotion_code]")
    _must_hold(ledger, code, amount, customer)
    return str(code["promotion"]["coupon"])


def _must_hold(ledger: Ledger, code: Document, amount: int, customer: str | None) -> None:
    limits = code["restrictions"]
    expired = code["expires_at"] is not None and code["expires_at"] <= ledger.now()
    if not code["active"] or expired or (code["customer"] and code["customer"] != customer):
        raise Fault("This promotion code cannot be redeemed: it is not active.", code="promotion_code_inactive")
    if limits["minimum_amount"] and amount < limits["minimum_amount"]:
        raise Fault("This promotion code needs a larger order.", code="promotion_code_minimum_amount")
    if limits["first_time_transaction"] and customer and ledger.all("charge", {"customer": customer, "paid": 1}):
        raise Fault("This promotion code cannot be redeemed: the customer has prior transactions.")


def _given(ledger: Ledger, choice: DiscountChoice, subscription: Document, amount: int, session: str | None) -> str:
    if choice.discount:
        return str(ledger.get("discount", choice.discount, param="discounts[0][discount]")["id"])
    coupon_id = _coupon_id(ledger, choice, amount, subscription["customer"])
    coupon = coupons.redeem(ledger, coupon_id, choice.promotion_code)
    months = coupon["duration_in_months"]
    discount = {
        "id": ledger.new_id("di"),
        "object": "discount",
        "checkout_session": session,
        "customer": subscription["customer"],
        "customer_account": None,
        "end": periods.later(ledger.now(), "month", months) if months else None,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": choice.promotion_code,
        "source": {"coupon": coupon["id"], "type": "coupon"},
        "start": ledger.now(),
        "subscription": subscription["id"],
        "subscription_item": None,
    }
    # A coupon that is deleted later goes on for those who have it.
    ledger.documents.put("coupon_terms", str(discount["id"]), coupon)
    events.emit(ledger, "customer.discount.created", ledger.save(discount))
    return str(discount["id"])


def _covers(coupon: Document, line: Document) -> bool:
    return "applies_to" not in coupon or line["pricing"]["price_details"]["product"] in coupon["applies_to"]["products"]


def _shares(coupon: Document, lines: list[Document], currency: str) -> list[int]:
    left = [each["amount"] - sum(part["amount"] for part in each["discount_amounts"]) for each in lines]
    if coupon["percent_off"] is not None:
        return [taken_off(coupon, amount) for amount in left]
    if coupon["currency"] != currency:
        return [0 for _ in lines]
    budget, shares = coupon["amount_off"], []
    for amount in left:
        shares.append(min(amount, budget))
        budget -= shares[-1]
    return shares
