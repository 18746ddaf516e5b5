"""One visit to the billing portal: whose it is, what is allowed, and where it leads when something is done."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from controller.sandbox.documents import Document
from controller.sandbox.stripe import entries, portal, subscriptions, visits
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.looks import sentence


@dataclass
class Visit:
    """A portal session that is being used."""

    request: Request
    ledger: Ledger
    session: Document
    configuration: Document
    customer: Document
    error: str | None = None
    """The key of a sentence that the next page begins with."""

    @property
    def base(self) -> str:
        """The address of the front page."""
        return f"/p/session/{self.session['id']}"

    @property
    def locale(self) -> str | None:
        """The session's language, else the customer's."""
        if self.session["locale"] not in (None, "auto"):
            return str(self.session["locale"])
        return next(iter(self.customer["preferred_locales"] or []), None)

    def say(self, key: str) -> str:
        """The sentence in the visit's language."""
        return sentence(key, self.locale)

    def feature(self, name: str) -> Document:
        """The configuration of a feature. Raises Fault if it is switched off."""
        found: Document = self.configuration["features"][name]
        if not found["enabled"]:
            raise Fault(self.say("off"), status=403)
        return found

    def subscription(self) -> Document:
        """The subscription that the address names. Raises Fault if it is not this customer's, or is over."""
        found = self.ledger.get("subscription", self.request.path_params["subscription"])
        if found["customer"] != self.customer["id"] or subscriptions.is_over(found):
            raise Fault(f"No such subscription: '{found['id']}'", status=404)
        return found

    def flow_page(self) -> str | None:
        """The page that the session was made for, until what it is for was done."""
        flow = self.session["flow"]
        if flow is None or self.ledger.documents.get("portal_flow_done", self.session["id"]):
            return None
        if flow["type"] == "payment_method_update":
            return f"{self.base}/payment-method"
        about = flow[flow["type"]]
        where = f"{self.base}/subscriptions/{about['subscription']}"
        if flow["type"] == "subscription_cancel":
            return f"{where}/cancel"
        price = about["items"][0]["price"] if flow["type"] == "subscription_update_confirm" else None
        return f"{where}/update?price={price}" if price else f"{where}/update"

    def finish(self) -> Response:
        """On to where the session leads now that something was done."""
        flow = self.session["flow"]
        if flow is None or self.ledger.documents.get("portal_flow_done", self.session["id"]):
            return self.onward(self.base)
        self.ledger.documents.put("portal_flow_done", self.session["id"], {})
        after = flow["after_completion"]
        if after["type"] == "redirect" and after["redirect"]:
            return self.onward(after["redirect"]["return_url"])
        if after["type"] == "hosted_confirmation":
            text = (after["hosted_confirmation"] or {}).get("custom_message") or ""
            back = self.session["return_url"]
            return visits.page(self.ledger, "message.html", self.locale, title=self.say("done"), text=text, back=back)
        return self.onward(self.base)

    def onward(self, url: str) -> Response:
        """The way to another page."""
        return visits.onward(self.request, url)

    def page(self, template: str, title: str, *, status: int = 200, **facts: object) -> Response:
        """A page of the portal."""
        at_home = self.request.url.path == self.base
        return visits.page(
            self.ledger, template, self.locale, status=status, title=title, error=self.error, base=self.base,
            home=None if at_home or self.flow_page() else self.base, back=self.session["return_url"],
            action=self.request.url.path, customer=self.customer, features=self.configuration["features"], **facts,
        )  # fmt: skip


def enter(request: Request) -> Visit:
    """The visit, its customer's time kept. Raises Fault for a session that is over or was never there."""
    ledger = visits.account(request)
    session = ledger.get("billing_portal.session", request.path_params["id"])
    customer = ledger.live("customer", session["customer"])
    if portal.is_over(ledger, session):
        raise Fault("This portal session has expired. Please go back and open a new one.", status=410)
    ledger.keep_time_of(customer)
    configuration = ledger.get("billing_portal.configuration", session["configuration"])
    error = entries.known(request.query_params.get("refused"))
    return Visit(request, ledger, session, configuration, customer, error)
