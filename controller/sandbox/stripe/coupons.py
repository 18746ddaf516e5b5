"""Coupons, and the promotion codes that people type to get one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.core import ids
from controller.sandbox.documents import Document
from controller.sandbox.stripe import events
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault, missing
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing, Metadata, Params, given, merged


class AppliesTo(Params):
    """The products that a coupon makes cheaper."""

    products: list[str]


class CouponCreate(Params):
    """A new coupon: a share or an amount, once, for some months, or for ever."""

    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,200}$")
    amount_off: int | None = Field(default=None, ge=1)
    applies_to: AppliesTo | None = None
    currency: str | None = None
    duration: Literal["forever", "once", "repeating"] = "once"
    duration_in_months: int | None = Field(default=None, ge=1)
    max_redemptions: int | None = Field(default=None, ge=1)
    metadata: Metadata | None = None
    name: str | None = Field(default=None, max_length=40)
    percent_off: float | None = Field(default=None, gt=0, le=100)
    redeem_by: int | None = None


class CouponUpdate(Params):
    """What may change on a coupon."""

    metadata: Metadata | None = None
    name: str | None = Field(default=None, max_length=40)


class Promotion(Params):
    """What a promotion code gives."""

    type: Literal["coupon"]
    coupon: str


class Restrictions(Params):
    """Who may use a promotion code."""

    first_time_transaction: bool = False
    minimum_amount: int | None = Field(default=None, ge=1)
    minimum_amount_currency: str | None = None


class PromotionCodeCreate(Params):
    """A new promotion code; without ``code`` one is drawn."""

    promotion: Promotion
    active: bool = True
    code: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,500}$")
    customer: str | None = None
    expires_at: int | None = None
    max_redemptions: int | None = Field(default=None, ge=1)
    metadata: Metadata | None = None
    restrictions: Restrictions = Restrictions()


class PromotionCodeUpdate(Params):
    """What may change on a promotion code."""

    active: bool | None = None
    metadata: Metadata | None = None


class PromotionCodeListing(Listing):
    """Filters of a list of promotion codes."""

    active: bool | None = None
    code: str | None = None
    coupon: str | None = None
    customer: str | None = None


def create_coupon(ledger: Ledger, params: CouponCreate) -> Document:
    """The new coupon."""
    _must_make_sense(params)
    key = params.id or ids.new()[-8:].upper()
    if ledger.documents.get("coupon", key):
        raise Fault("Coupon already exists.", code="resource_already_exists", param="id")
    coupon: Document = {
        "id": key,
        "object": "coupon",
        "amount_off": params.amount_off,
        "created": ledger.now(),
        "currency": params.currency.lower() if params.currency else None,
        "duration": params.duration,
        "duration_in_months": params.duration_in_months,
        "livemode": False,
        "max_redemptions": params.max_redemptions,
        "metadata": params.metadata or {},
        "name": params.name,
        "percent_off": params.percent_off,
        "redeem_by": params.redeem_by,
        "times_redeemed": 0,
        "valid": True,
    }
    if params.applies_to:
        coupon["applies_to"] = {"products": params.applies_to.products}
    events.emit(ledger, "coupon.created", ledger.save(coupon))
    return coupon


def update_coupon(ledger: Ledger, params: CouponUpdate, key: str) -> Document:
    """The coupon with another name or metadata."""
    old = ledger.live("coupon", key)
    new = old | params.model_dump(exclude_unset=True, include={"name"})
    if "metadata" in params.model_fields_set:
        new["metadata"] = merged(old["metadata"], params.metadata)
    events.emit_change(ledger, "coupon.updated", old, ledger.save(new))
    return new


def delete_coupon(ledger: Ledger, _: Params, key: str) -> Document:
    """Nobody gets the coupon any more; who has it keeps it."""
    events.emit(ledger, "coupon.deleted", ledger.live("coupon", key))
    return ledger.save({"id": key, "object": "coupon", "deleted": True})


def list_coupons(ledger: Ledger, params: Listing) -> Document:
    """A page of coupons."""
    return ledger.page("coupon", "/v1/coupons", params)


def create_promotion_code(ledger: Ledger, params: PromotionCodeCreate) -> Document:
    """The new promotion code. Raises Fault if an active one reads the same."""
    coupon = ledger.live("coupon", params.promotion.coupon, param="promotion[coupon]")
    code = params.code or ids.new()[-8:].upper()
    if find_code(ledger, code):
        raise Fault("An active promotion code with `code: " + code + "` already exists.", param="code")
    promotion_code = {
        "id": ledger.new_id("promo"),
        "object": "promotion_code",
        "active": params.active,
        "code": code,
        "created": ledger.now(),
        "customer": params.customer,
        "customer_account": None,
        "expires_at": params.expires_at,
        "livemode": False,
        "max_redemptions": params.max_redemptions,
        "metadata": params.metadata or {},
        "promotion": {"coupon": coupon["id"], "type": "coupon"},
        "restrictions": params.restrictions.model_dump(exclude={"expand"}),
        "times_redeemed": 0,
    }
    events.emit(ledger, "promotion_code.created", ledger.save(promotion_code))
    return promotion_code


def update_promotion_code(ledger: Ledger, params: PromotionCodeUpdate, key: str) -> Document:
    """The promotion code, switched on or off or with other metadata."""
    old = ledger.get("promotion_code", key)
    new = old | ({} if params.active is None else {"active": params.active})
    if "metadata" in params.model_fields_set:
        new["metadata"] = merged(old["metadata"], params.metadata)
    events.emit_change(ledger, "promotion_code.updated", old, ledger.save(new))
    return new


def list_promotion_codes(ledger: Ledger, params: PromotionCodeListing) -> Document:
    """A page of promotion codes."""
    where = given(params, "active", "customer")
    if params.coupon:
        where["promotion.coupon"] = params.coupon

    def keep(row: Document) -> bool:
        return params.code is None or row["code"].lower() == params.code.lower()

    return ledger.page("promotion_code", "/v1/promotion_codes", params, where, keep)


def find_code(ledger: Ledger, code: str) -> Document | None:
    """The active promotion code that reads so, whatever the case of its letters."""
    active = ledger.all("promotion_code", {"active": 1})
    return next((each for each in active if each["code"].lower() == code.strip().lower()), None)


def redeem(ledger: Ledger, coupon_id: str, promotion_code: str | None) -> Document:
    """The coupon, used once more, as is the code that led to it. Raises Fault if it may not be used now."""
    coupon = ledger.documents.get("coupon", coupon_id)
    if coupon is None or coupon.get("deleted"):
        raise missing("coupon", coupon_id, param="discounts[0][coupon]", status=400)
    if not usable(ledger, coupon):
        raise Fault(f"Coupon {coupon_id} is used up or expired.", code="coupon_expired", param="discounts")
    coupon = ledger.save(coupon | {"times_redeemed": coupon["times_redeemed"] + 1})
    ledger.save(coupon | {"valid": usable(ledger, coupon)})
    if promotion_code:
        code = ledger.get("promotion_code", promotion_code, param="discounts[0][promotion_code]")
        code |= {"times_redeemed": code["times_redeemed"] + 1}
        ledger.save(code | {"active": code["active"] and not _spent(code)})
    return coupon


def usable(ledger: Ledger, coupon: Document) -> bool:
    """Whether the coupon can still be given to somebody."""
    return not _spent(coupon) and not (coupon["redeem_by"] and coupon["redeem_by"] <= ledger.now())


def _spent(thing: Document) -> bool:
    return thing["max_redemptions"] is not None and thing["times_redeemed"] >= thing["max_redemptions"]


def _must_make_sense(params: CouponCreate) -> None:
    if (params.amount_off is None) == (params.percent_off is None):
        raise Fault("Must provide either percent_off or amount_off, and not both.", param="amount_off")
    if params.amount_off is not None and params.currency is None:
        raise Fault("You must pass currency when passing amount_off.", code="parameter_missing", param="currency")
    if (params.duration == "repeating") != (params.duration_in_months is not None):
        raise Fault("duration_in_months goes with a duration of `repeating` only.", param="duration_in_months")


ENDPOINTS = [
    Endpoint("POST", "/coupons", create_coupon, CouponCreate),
    Endpoint("GET", "/coupons", list_coupons, Listing),
    retrieve("/coupons", "coupon"),
    Endpoint("POST", "/coupons/{id}", update_coupon, CouponUpdate),
    Endpoint("DELETE", "/coupons/{id}", delete_coupon),
    Endpoint("POST", "/promotion_codes", create_promotion_code, PromotionCodeCreate),
    Endpoint("GET", "/promotion_codes", list_promotion_codes, PromotionCodeListing),
    retrieve("/promotion_codes", "promotion_code"),
    Endpoint("POST", "/promotion_codes/{id}", update_promotion_code, PromotionCodeUpdate),
]
