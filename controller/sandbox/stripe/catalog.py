"""Products and prices."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.sandbox.documents import Document
from controller.sandbox.stripe import events
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing, Metadata, Params, merged


class ProductCreate(Params):
    """A new product, with an id of the caller's choice if wanted."""

    name: str
    id: str | None = None
    active: bool = True
    description: str | None = None
    metadata: Metadata | None = None


class ProductUpdate(Params):
    """What may change on a product."""

    name: str | None = None
    active: bool | None = None
    description: str | None = None
    metadata: Metadata | None = None


class ProductListing(Listing):
    """A product list's filter."""

    active: bool | None = None


class Recurring(Params):
    """A price's period."""

    interval: Literal["day", "week", "month", "year"]
    interval_count: int = Field(default=1, ge=1)


class PriceCreate(Params):
    """A new price; ``unit_amount`` in the currency's minor unit."""

    currency: str
    unit_amount: int = Field(ge=0)
    product: str | None = None
    product_data: ProductCreate | None = None
    recurring: Recurring | None = None
    lookup_key: str | None = None
    transfer_lookup_key: bool = False
    nickname: str | None = None
    active: bool = True
    metadata: Metadata | None = None
    tax_behavior: Literal["exclusive", "inclusive", "unspecified"] = "unspecified"


class PriceUpdate(Params):
    """What may change on a price: its amount may not."""

    active: bool | None = None
    lookup_key: str | None = None
    transfer_lookup_key: bool = False
    nickname: str | None = None
    metadata: Metadata | None = None


class PriceListing(Listing):
    """A price list's filters."""

    active: bool | None = None
    currency: str | None = None
    lookup_keys: list[str] | None = Field(default=None, max_length=10)
    product: str | None = None
    type: Literal["one_time", "recurring"] | None = None


def create_product(ledger: Ledger, params: ProductCreate) -> Document:
    """The new product."""
    key = params.id or ledger.new_id("prod")
    if ledger.documents.get("product", key):
        raise Fault(f"Product already exists: {key}", code="resource_already_exists", param="id")
    product: Document = {
        "id": key,
        "object": "product",
        "active": params.active,
        "created": ledger.now(),
        "default_price": None,
        "description": params.description,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": params.metadata or {},
        "name": params.name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": ledger.now(),
        "url": None,
    }
    events.emit(ledger, "product.created", ledger.save(product))
    return product


def update_product(ledger: Ledger, params: ProductUpdate, key: str) -> Document:
    """The product with the given fields changed."""
    old = ledger.live("product", key)
    new = old | _changes(params, old) | {"updated": ledger.now()}
    events.emit_change(ledger, "product.updated", old, ledger.save(new))
    return new


def create_price(ledger: Ledger, params: PriceCreate) -> Document:
    """The new price. Raises Fault if another price holds its lookup key and it is not transferred."""
    if (params.product is None) == (params.product_data is None):
        raise Fault("You must specify exactly one of product or product_data.", param="product")
    product = (
        create_product(ledger, params.product_data)["id"]
        if params.product_data
        else ledger.live("product", params.product or "", param="product")["id"]
    )
    _claim_lookup_key(ledger, params.lookup_key, transfer=params.transfer_lookup_key)
    price = _price(ledger, params, product)
    events.emit(ledger, "price.created", ledger.save(price))
    return price


def update_price(ledger: Ledger, params: PriceUpdate, key: str) -> Document:
    """The price with the given fields changed."""
    old = ledger.get("price", key)
    if params.lookup_key != old["lookup_key"]:
        _claim_lookup_key(ledger, params.lookup_key, transfer=params.transfer_lookup_key)
    new = old | _changes(params, old)
    events.emit_change(ledger, "price.updated", old, ledger.save(new))
    return new


def list_products(ledger: Ledger, params: ProductListing) -> Document:
    """A page of products."""
    return ledger.page("product", "/v1/products", params, _filters(active=params.active))


def list_prices(ledger: Ledger, params: PriceListing) -> Document:
    """A page of prices."""
    where = _filters(active=params.active, currency=params.currency, product=params.product, type=params.type)
    keys = params.lookup_keys
    return ledger.page(
        "price", "/v1/prices", params, where, keep=lambda price: keys is None or price["lookup_key"] in keys
    )


def name_of(ledger: Ledger, price: Document) -> str:
    """What people call the price: its product's name."""
    return str(ledger.get("product", price["product"]).get("name") or price["id"])


def _price(ledger: Ledger, params: PriceCreate, product: str) -> Document:
    recurring = params.recurring and {
        "interval": params.recurring.interval,
        "interval_count": params.recurring.interval_count,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }
    return {
        "id": ledger.new_id("price"),
        "object": "price",
        "active": params.active,
        "billing_scheme": "per_unit",
        "created": ledger.now(),
        "currency": params.currency.lower(),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": params.lookup_key,
        "metadata": params.metadata or {},
        "nickname": params.nickname,
        "product": product,
        "recurring": recurring,
        "tax_behavior": params.tax_behavior,
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": params.unit_amount,
        "unit_amount_decimal": str(params.unit_amount),
    }


def _claim_lookup_key(ledger: Ledger, lookup_key: str | None, *, transfer: bool) -> None:
    holders = ledger.all("price", {"lookup_key": lookup_key}) if lookup_key else []
    if holders and not transfer:
        raise Fault(
            f"A price (`{holders[0]['id']}`) already uses that lookup key.",
            code="resource_already_exists",
            param="lookup_key",
        )
    for holder in holders:
        ledger.save(holder | {"lookup_key": None})


def _changes(params: ProductUpdate | PriceUpdate, old: Document) -> Document:
    given = params.model_dump(exclude_unset=True, exclude={"expand", "transfer_lookup_key"})
    if "metadata" in given:
        given["metadata"] = merged(old["metadata"], given["metadata"])
    return given


def _filters(**wanted: str | int | None) -> dict[str, str | int | None]:
    return {name: value for name, value in wanted.items() if value is not None}


ENDPOINTS = [
    Endpoint("POST", "/products", create_product, ProductCreate),
    Endpoint("GET", "/products", list_products, ProductListing),
    retrieve("/products", "product"),
    Endpoint("POST", "/products/{id}", update_product, ProductUpdate),
    Endpoint("POST", "/prices", create_price, PriceCreate),
    Endpoint("GET", "/prices", list_prices, PriceListing),
    retrieve("/prices", "price"),
    Endpoint("POST", "/prices/{id}", update_price, PriceUpdate),
]
