"""Stripe's test cards: which number is which, and what the bank says when each is charged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from controller.sandbox.documents import Document
from controller.sandbox.stripe.faults import Fault

Authentication = Literal["never", "setup", "always"]


@dataclass(frozen=True)
class TestCard:
    """One of Stripe's published test cards; ``declines`` is the bank's reason to refuse a charge.

    ``authenticates``: whether the bank asks its holder (3D Secure) never, on the first payment, or on every one.
    """

    __test__ = False

    number: str
    brand: str = "visa"
    declines: str | None = None
    attaches: bool = True
    authenticates: Authentication = "never"
    disputed: str | None = None
    country: str = "US"

    @property
    def last4(self) -> str:
        """The only digits that are ever stored."""
        return self.number[-4:]


TEST_CARDS = {
    "pm_card_visa": TestCard("4242424242424242"),
    "pm_card_mastercard": TestCard("5555555555554444", "mastercard"),
    "pm_card_br": TestCard("4000000760000002", country="BR", declines=None),
    "pm_card_chargeCustomerFail": TestCard("4000000000000341", declines="generic_decline"),
    "pm_card_chargeDeclined": TestCard("4000000000000002", declines="generic_decline", attaches=False),
    "pm_card_chargeDeclinedInsufficientFunds": TestCard(
        "4000000000009995", declines="insufficient_funds", attaches=False
    ),
    "pm_card_chargeDeclinedExpiredCard": TestCard("4000000000000069", declines="expired_card", attaches=False),
    "pm_card_chargeDeclinedIncorrectCvc": TestCard("4000000000000127", declines="incorrect_cvc", attaches=False),
    "pm_card_authenticationRequiredOnSetup": TestCard("4000002500003155", authenticates="setup"),
    "pm_card_authenticationRequired": TestCard("4000002760003184", authenticates="always"),
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": TestCard(
        "4000008260003178", authenticates="always", declines="insufficient_funds"
    ),
    "pm_card_createDispute": TestCard("4000000000000259", disputed="fraudulent"),
}
"""By the token that stands for the card in the API. 0341 attaches and fails when charged, 0002 does not even attach."""

_BY_LAST4 = {card.last4: card for name, card in TEST_CARDS.items() if name != "pm_card_br"}

MESSAGES = {
    "generic_decline": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
    "authentication_failure": (
        "We are unable to authenticate your payment method. Please choose a different payment method and try again."
    ),
}
"""What Stripe says to the card's holder, by decline code."""

_OWN_CODES = {"expired_card", "incorrect_cvc", "authentication_required"}


@dataclass(frozen=True)
class Verdict:
    """What the bank says to a charge: ``decline_code`` None is yes."""

    decline_code: str | None = None

    @property
    def paid(self) -> bool:
        """Whether the money came."""
        return self.decline_code is None

    @property
    def wants_holder(self) -> bool:
        """Whether the card's holder could still make it a yes, by authenticating."""
        return self.decline_code == "authentication_required"

    @property
    def code(self) -> str:
        """Stripe's error code for a refusal."""
        if self.decline_code == "authentication_failure":
            return "payment_intent_authentication_failure"
        return self.decline_code if self.decline_code in _OWN_CODES else "card_declined"

    @property
    def message(self) -> str:
        """The sentence for the card's holder."""
        return MESSAGES.get(self.decline_code or "", MESSAGES["generic_decline"])

    def fault(self, *, keeps: bool = False) -> Fault:
        """The 402 that a refusal is answered with."""
        decline = None if self.decline_code == "authentication_failure" else self.decline_code
        return Fault(self.message, status=402, type="card_error", code=self.code, decline_code=decline, keeps=keeps)


PAID = Verdict()
REFUSED = Verdict("generic_decline")


def by_token(token: str) -> TestCard:
    """The card that ``pm_card_…`` stands for. Raises Fault for a token that is none of Stripe's."""
    name = token.replace("pm_card_visa_charge", "pm_card_charge", 1)
    if name not in TEST_CARDS:
        raise Fault(f"No such PaymentMethod: '{token[:64]}'", code="resource_missing", param="payment_method")
    return TEST_CARDS[name]


def by_number(digits: str) -> tuple[str, TestCard] | None:
    """The token and card with this number, or None if it is no test card."""
    return next(((token, card) for token, card in TEST_CARDS.items() if card.number == digits), None)


def attaches(method: Document) -> bool:
    """Whether the bank lets the card be saved."""
    return not method.get("card") or _known(method).attaches


def first_payment_asks(method: Document) -> bool:
    """Whether the bank wants to hear the holder before this card pays for the first time."""
    return bool(method.get("card")) and _known(method).authenticates != "never"


def verdict(method: Document, *, authenticated: bool = False) -> Verdict:
    """What the bank says when this payment method is charged; ``authenticated``: the holder just confirmed it."""
    if not method.get("card"):
        return PAID
    card = _known(method)
    if card.authenticates == "always" and not authenticated:
        return Verdict("authentication_required")
    return Verdict(card.declines)


def disputed_as(method: Document | None) -> str | None:
    """The reason with which this card's holder disputes every payment, if so."""
    return _known(method).disputed if method and method.get("card") else None


def _known(method: Document) -> TestCard:
    if method["card"]["country"] == "BR":
        return TEST_CARDS["pm_card_br"]
    return _BY_LAST4[method["card"]["last4"]]
