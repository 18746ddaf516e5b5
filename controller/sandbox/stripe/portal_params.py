"""What a caller may say of the billing portal: its configurations and its sessions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.sandbox.stripe.params import Address, Listing, Metadata, Params

Proration = Literal["always_invoice", "create_prorations", "none"]


class Switch(Params):
    """A feature that is only on or off."""

    enabled: bool = False


class CustomerUpdate(Switch):
    """What customers may change about themselves."""

    allowed_updates: list[Literal["address", "email", "name", "phone", "shipping", "tax_id"]] = Field(
        default_factory=list
    )


class CancellationReason(Switch):
    """Whether who cancels is asked why."""

    options: list[str] = Field(default_factory=list)


class SubscriptionCancel(Switch):
    """How customers may cancel."""

    mode: Literal["at_period_end", "immediately"] = "at_period_end"
    proration_behavior: Proration = "none"
    cancellation_reason: CancellationReason = CancellationReason()


class Product(Params):
    """A product with the prices that customers may change to."""

    product: str
    prices: list[str]


class Condition(Params):
    """When a change waits for the end of the period."""

    type: Literal["decreasing_item_amount", "shortening_interval"]


class AtPeriodEnd(Params):
    """Which changes wait for the end of the period."""

    conditions: list[Condition] = Field(default_factory=list)


class SubscriptionChange(Switch):
    """How customers may change their plan."""

    default_allowed_updates: list[Literal["price", "promotion_code", "quantity"]] = Field(default_factory=list)
    products: list[Product] | None = None
    proration_behavior: Proration = "none"
    schedule_at_period_end: AtPeriodEnd = AtPeriodEnd()


class Features(Params):
    """What customers may do in the portal."""

    customer_update: CustomerUpdate = CustomerUpdate()
    invoice_history: Switch = Switch()
    payment_method_update: Switch = Switch()
    subscription_cancel: SubscriptionCancel = SubscriptionCancel()
    subscription_update: SubscriptionChange = SubscriptionChange()


class BusinessProfile(Params):
    """What the portal says of the seller."""

    headline: str | None = None
    privacy_policy_url: Address | None = None
    terms_of_service_url: Address | None = None


class ConfigurationCreate(Params):
    """A new configuration."""

    features: Features
    business_profile: BusinessProfile = BusinessProfile()
    default_return_url: Address | None = None
    metadata: Metadata | None = None
    name: str | None = None


class ConfigurationUpdate(Params):
    """What may change on a configuration."""

    active: bool | None = None
    features: Features | None = None
    business_profile: BusinessProfile | None = None
    default_return_url: Address | None = None
    metadata: Metadata | None = None
    name: str | None = None


class ConfigurationListing(Listing):
    """Filters of a list of configurations."""

    active: bool | None = None
    is_default: bool | None = None


class ReturnUrl(Params):
    """An address to go back to."""

    return_url: Address


class Confirmation(Params):
    """What a flow says at its end."""

    custom_message: str | None = None


class Completion(Params):
    """Where a flow ends."""

    type: Literal["redirect", "hosted_confirmation", "portal_homepage"]
    redirect: ReturnUrl | None = None
    hosted_confirmation: Confirmation | None = None


class OfSubscription(Params):
    """The subscription that a flow is about."""

    subscription: str


class ConfirmItem(Params):
    """What an item is to become."""

    id: str
    price: str | None = None
    quantity: int | None = None


class Confirmed(OfSubscription):
    """The change that a flow asks to confirm."""

    items: list[ConfirmItem]


class Flow(Params):
    """One thing to do in the portal, instead of its front page."""

    type: Literal["payment_method_update", "subscription_cancel", "subscription_update", "subscription_update_confirm"]
    after_completion: Completion | None = None
    subscription_cancel: OfSubscription | None = None
    subscription_update: OfSubscription | None = None
    subscription_update_confirm: Confirmed | None = None


class SessionCreate(Params):
    """A new session of one customer."""

    customer: str
    configuration: str | None = None
    flow_data: Flow | None = None
    locale: str | None = None
    return_url: Address | None = None
