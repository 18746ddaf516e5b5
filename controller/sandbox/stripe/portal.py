"""The billing portal: configurations, and sessions that let one customer in."""

from __future__ import annotations

from controller.sandbox.documents import Document
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import merged
from controller.sandbox.stripe.portal_params import (
    ConfigurationCreate,
    ConfigurationListing,
    ConfigurationUpdate,
    Features,
    Flow,
    OfSubscription,
    SessionCreate,
)  # fmt: skip

LIFE_SECONDS = 3600
"""How long a session lets its customer in."""


def create_configuration(ledger: Ledger, params: ConfigurationCreate) -> Document:
    """The new configuration. Raises Fault for a price that is not the product's."""
    _check_products(ledger, params.features)
    now = ledger.now()
    return ledger.save(
        {
            "id": ledger.new_id("bpc"),
            "object": "billing_portal.configuration",
            "active": True,
            "application": None,
            "business_profile": params.business_profile.model_dump(exclude={"expand"}),
            "created": now,
            "default_return_url": params.default_return_url,
            "features": _features(params.features),
            "is_default": False,
            "livemode": False,
            "login_page": {"enabled": False, "url": None},
            "metadata": params.metadata or {},
            "name": params.name,
            "updated": now,
        }
    )


def update_configuration(ledger: Ledger, params: ConfigurationUpdate, key: str) -> Document:
    """The configuration with the given fields changed; features that are named change whole."""
    old = ledger.get("billing_portal.configuration", key)
    new = old | {"updated": ledger.now()}
    given = params.model_fields_set
    if params.features:
        _check_products(ledger, params.features)
        named = params.features.model_fields_set
        new["features"] = old["features"] | {k: v for k, v in _features(params.features).items() if k in named}
    if params.business_profile:
        new["business_profile"] = params.business_profile.model_dump(exclude={"expand"})
    if "metadata" in given:
        new["metadata"] = merged(old["metadata"], params.metadata)
    new |= {name: getattr(params, name) for name in given & {"default_return_url", "name"}}
    if params.active is not None:
        new["active"] = params.active
    return ledger.save(new)


def list_configurations(ledger: Ledger, params: ConfigurationListing) -> Document:
    """A page of configurations."""
    where = {n: int(getattr(params, n)) for n in ("active", "is_default") if getattr(params, n) is not None}
    return ledger.page("billing_portal.configuration", "/v1/billing_portal/configurations", params, {**where})


def create_session(ledger: Ledger, params: SessionCreate) -> Document:
    """The session, whose ``url`` is a page of this stand-in for an hour.

    Raises Fault without a configuration, as Stripe does before its owner saved one in the dashboard.
    """
    customer = ledger.live("customer", params.customer, param="customer")
    configuration = _configuration(ledger, params.configuration)
    _check_flow(ledger, params.flow_data, configuration, customer["id"])
    key = ledger.new_id("bps")
    return ledger.save(
        {
            "id": key,
            "object": "billing_portal.session",
            "after_expiration": None,
            "configuration": configuration["id"],
            "created": ledger.now(),
            "customer": customer["id"],
            "customer_account": None,
            "flow": _flow(params.flow_data),
            "livemode": False,
            "locale": params.locale,
            "on_behalf_of": None,
            "return_url": params.return_url or configuration["default_return_url"],
            "url": f"{ledger.call.base_url}/p/session/{key}",
        }
    )


def is_over(ledger: Ledger, session: Document) -> bool:
    """Whether the session lets nobody in any more."""
    return bool(session["created"] + LIFE_SECONDS < ledger.now())


def choices(ledger: Ledger, configuration: Document) -> list[Document]:
    """The prices that customers may change to, the cheapest first."""
    products = configuration["features"]["subscription_update"]["products"] or []
    prices = [ledger.get("price", key) for product in products for key in product["prices"]]
    return sorted((price for price in prices if price["active"]), key=lambda price: int(price["unit_amount"]))


def waits_for_period_end(configuration: Document, old: Document, new: Document) -> bool:
    """Whether the change from price ``old`` to ``new`` is made at the end of the period only."""
    conditions = configuration["features"]["subscription_update"]["schedule_at_period_end"]["conditions"]
    cheaper = new["unit_amount"] < old["unit_amount"]
    return cheaper and any(each["type"] == "decreasing_item_amount" for each in conditions)


def _configuration(ledger: Ledger, key: str | None) -> Document:
    if key is not None:
        found = ledger.get("billing_portal.configuration", key, param="configuration")
        if not found["active"]:
            raise Fault(f"The configuration {key} is not active.", param="configuration")
        return found
    default = ledger.all("billing_portal.configuration", {"is_default": 1, "active": 1})
    if not default:
        raise Fault(
            "No configuration provided and your test mode default configuration has not been created. Provide a"
            " configuration or create your default by saving your customer portal settings in test mode at"
            " https://dashboard.stripe.com/test/settings/billing/portal."
        )
    return default[0]


def _check_products(ledger: Ledger, features: Features) -> None:
    change = features.subscription_update
    if change.enabled and not (change.products and change.default_allowed_updates):
        raise Fault(
            "Missing required param: features[subscription_update][products].",
            code="parameter_missing",
            param="features[subscription_update][products]",
        )
    for product in change.products or ():
        for key in product.prices:
            price = ledger.get("price", key, param="features[subscription_update][products][0][prices]")
            if price["product"] != product.product:
                raise Fault(f"The price {key} does not belong to the product {product.product}.", param="features")


def _check_flow(ledger: Ledger, flow: Flow | None, configuration: Document, customer: str) -> None:
    if flow is None:
        return
    feature = "subscription_update" if flow.type == "subscription_update_confirm" else flow.type
    if not configuration["features"][feature]["enabled"]:
        raise Fault(f"This flow needs `{feature}` to be enabled in the configuration.", param="flow_data[type]")
    if flow.type == "payment_method_update":
        return
    about: OfSubscription | None = getattr(flow, flow.type)
    if about is None:
        name = f"flow_data[{flow.type}]"
        raise Fault(f"Missing required param: {name}.", code="parameter_missing", param=name)
    subscription = ledger.get("subscription", about.subscription, param=f"flow_data[{flow.type}][subscription]")
    if subscription["customer"] != customer:
        raise Fault("The subscription is not this customer's.", param=f"flow_data[{flow.type}][subscription]")


def _features(features: Features) -> Document:
    return _bare(features.model_dump()) | {"subscription_pause": {"enabled": False}}


def _flow(flow: Flow | None) -> Document | None:
    if flow is None:
        return None
    shown = _bare(flow.model_dump())
    shown["after_completion"] = shown["after_completion"] or {
        "type": "portal_homepage", "redirect": None, "hosted_confirmation": None
    }  # fmt: skip
    return shown


def _bare(fields: Document) -> Document:
    """The fields without the ``expand`` that every parameter type has."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {name: strip(inner) for name, inner in value.items() if name != "expand"}
        return [strip(inner) for inner in value] if isinstance(value, list) else value

    return {name: strip(inner) for name, inner in fields.items() if name != "expand"}


ENDPOINTS = [
    Endpoint("POST", "/billing_portal/configurations", create_configuration, ConfigurationCreate),
    Endpoint("GET", "/billing_portal/configurations", list_configurations, ConfigurationListing),
    retrieve("/billing_portal/configurations", "billing_portal.configuration"),
    Endpoint("POST", "/billing_portal/configurations/{id}", update_configuration, ConfigurationUpdate),
    Endpoint("POST", "/billing_portal/sessions", create_session, SessionCreate),
]
