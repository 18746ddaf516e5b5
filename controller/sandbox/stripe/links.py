"""Payment links: each opening starts a Checkout session of its own."""

from __future__ import annotations

from typing import Literal

from controller.sandbox.documents import Document
from controller.sandbox.stripe import checkout, subscriptions
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing, Metadata, Params, merged


class Redirect(Params):
    """Where the buyer goes."""

    url: str


class AfterCompletion(Params):
    """What follows a paid link."""

    type: Literal["redirect", "hosted_confirmation"]
    redirect: Redirect | None = None


class LinkCreate(Params):
    """A new payment link."""

    line_items: list[checkout.LineItem]
    after_completion: AfterCompletion = AfterCompletion(type="hosted_confirmation")
    allow_promotion_codes: bool = False
    metadata: Metadata | None = None
    subscription_data: checkout.SubscriptionData = checkout.SubscriptionData()


class LinkUpdate(Params):
    """What may change on a payment link."""

    active: bool | None = None
    metadata: Metadata | None = None


class LinkListing(Listing):
    """Filter of a list of payment links."""

    active: bool | None = None


def create_link(ledger: Ledger, params: LinkCreate) -> Document:
    """The active payment link."""
    price = subscriptions.recurring_price(ledger, params.line_items[0].price)
    key = ledger.new_id("plink")
    checkout.remember(ledger, key, params.line_items, params.subscription_data)
    return ledger.save(
        {
            "id": key,
            "object": "payment_link",
            "active": True,
            "after_completion": params.after_completion.model_dump(exclude={"expand"}),
            "allow_promotion_codes": params.allow_promotion_codes,
            "application": None,
            "automatic_tax": {"enabled": False, "liability": None},
            "billing_address_collection": "auto",
            "currency": price["currency"],
            "custom_fields": [],
            "custom_text": {},
            "customer_creation": "if_required",
            "livemode": False,
            "metadata": params.metadata or {},
            "payment_method_collection": "always",
            "payment_method_types": None,
            "phone_number_collection": {"enabled": False},
            "shipping_options": [],
            "submit_type": "auto",
            "subscription_data": params.subscription_data.model_dump(exclude={"expand"}),
            "tax_id_collection": {"enabled": False, "required": "never"},
            "url": f"{ledger.call.base_url}/l/{key}",
        }
    )


def update_link(ledger: Ledger, params: LinkUpdate, key: str) -> Document:
    """The payment link, switched on or off or with other metadata."""
    link = ledger.get("payment_link", key)
    if params.active is not None:
        link["active"] = params.active
    if "metadata" in params.model_fields_set:
        link["metadata"] = merged(link["metadata"], params.metadata)
    return ledger.save(link)


def list_links(ledger: Ledger, params: LinkListing) -> Document:
    """A page of payment links."""
    where = {} if params.active is None else {"active": int(params.active)}
    return ledger.page("payment_link", "/v1/payment_links", params, where)


def open_link(
    ledger: Ledger, key: str, *, reference: str | None = None, email: str | None = None, locale: str | None = None
) -> Document:
    """A new session, as when somebody opens the link; what its address carried goes with it.

    Raises Fault if the link is off.
    """
    link = ledger.get("payment_link", key)
    if not link["active"]:
        raise Fault("This payment link is no longer active.", param="id")
    redirect = link["after_completion"]["redirect"]
    params = checkout.SessionCreate(
        mode="subscription",
        line_items=[
            checkout.LineItem(price=item["price"]["id"], quantity=item["quantity"])
            for item in checkout.bought(ledger, key)
        ],
        success_url=redirect["url"] if redirect else f"{ledger.call.base_url}/done?locale={locale or 'en'}",
        allow_promotion_codes=link["allow_promotion_codes"],
        client_reference_id=reference,
        customer_email=email,
        locale=locale,
        metadata=link["metadata"],
        subscription_data=checkout.SubscriptionData.model_validate(link["subscription_data"]),
    )
    return ledger.save(checkout.create_session(ledger, params) | {"payment_link": key})


ENDPOINTS = [
    Endpoint("POST", "/payment_links", create_link, LinkCreate),
    Endpoint("GET", "/payment_links", list_links, LinkListing),
    retrieve("/payment_links", "payment_link"),
    Endpoint("POST", "/payment_links/{id}", update_link, LinkUpdate),
    Endpoint("GET", "/payment_links/{id}/line_items", checkout.line_items, Listing),
]
