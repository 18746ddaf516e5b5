"""What a person typed on a hosted page, checked: a card, an address, a tax number."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from controller.core import clock
from controller.sandbox.stripe import cards
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.words import WORDS

_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
_EXPIRY = re.compile(r"^\s*(\d{1,2})\s*/?\s*(?:20)?(\d{2})\s*$")
_KEPT = ("email", "name", "tax_id", "method", "expiry", "holder")


@dataclass
class Entry:
    """The fields as typed, without number and code of a card; the card's token; what is wrong, by field."""

    typed: dict[str, str] = field(default_factory=lambda: dict.fromkeys(_KEPT, ""))
    token: str | None = None
    errors: dict[str, str] = field(default_factory=dict)
    """The keys of sentences in ``words.py``."""


def read(fields: dict[str, Any], *, wants_email: bool = False) -> Entry:
    """What was typed, with every mistake found."""
    entry = Entry()
    entry.typed |= {name: str(fields[name]).strip() for name in _KEPT if name in fields}
    if wants_email and not _EMAIL.fullmatch(entry.typed["email"]):
        entry.errors["email"] = "wrong_email"
    if entry.typed["method"] == "boleto":
        _read_boleto(entry)
    else:
        _read_card(entry, str(fields.get("number", "")), str(fields.get("cvc", "")))
    return entry


def refusal(fault: Fault) -> str:
    """The key of the sentence for a refused payment. Raises the fault again if it is no refusal."""
    if fault.status != 402:
        raise fault
    if fault.error.get("code") == "payment_intent_authentication_failure":
        return "authentication_failure"
    return known(fault.error.get("decline_code")) or "generic_decline"


def known(key: str | None) -> str | None:
    """``key`` if it is a refusal that has a sentence."""
    return key if key in cards.MESSAGES and key in WORDS else None


def _read_boleto(entry: Entry) -> None:
    if not entry.typed["name"]:
        entry.errors["name"] = "wrong_name"
    if len(re.sub(r"[.\-/\s]", "", entry.typed["tax_id"])) not in (11, 14):
        entry.errors["tax_id"] = "wrong_tax_id"


def _read_card(entry: Entry, number: str, cvc: str) -> None:
    digits = re.sub(r"[\s-]", "", number)
    found = cards.by_number(digits)
    if found:
        entry.token = found[0]
    else:
        entry.errors["number"] = "no_test_card" if _passes_luhn(digits) else "wrong_number"
    if not _is_ahead(entry.typed["expiry"]):
        entry.errors["expiry"] = "wrong_expiry"
    if not re.fullmatch(r"\d{3,4}", cvc.strip()):
        entry.errors["cvc"] = "wrong_cvc"
    if not entry.typed["holder"]:
        entry.errors["holder"] = "wrong_name"


def _passes_luhn(digits: str) -> bool:
    if not re.fullmatch(r"\d{12,19}", digits):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _is_ahead(expiry: str) -> bool:
    found = _EXPIRY.match(expiry)
    if found is None or not 1 <= int(found[1]) <= 12:
        return False
    now = clock.now()
    return (2000 + int(found[2]), int(found[1])) >= (now.year, now.month)
