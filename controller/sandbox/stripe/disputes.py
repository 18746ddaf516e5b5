"""Disputes: a card's holder asks the bank for the money back; the bank decides."""

from __future__ import annotations

from pydantic import Field

from controller.sandbox.documents import Document
from controller.sandbox.stripe import events
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.faults import Fault
from controller.sandbox.stripe.ledger import Ledger
from controller.sandbox.stripe.params import Listing, Metadata, Params, given, merged

DAYS_TO_ANSWER = 7
DECIDING_EVIDENCE = {"winning_evidence": "won", "losing_evidence": "lost"}
"""Stripe's test values of ``evidence[uncategorized_text]``, which decide a dispute at once."""

_TEXTS = (
    "access_activity_log", "cancellation_rebuttal", "customer_communication", "customer_email_address",
    "customer_name", "product_description", "service_date", "service_documentation", "uncategorized_text",
)  # fmt: skip


class DisputeUpdate(Params):
    """Our answer to the bank; ``submit`` false only keeps it."""

    evidence: dict[str, str] | None = None
    metadata: Metadata | None = None
    submit: bool = True


class DisputeListing(Listing):
    """Filters of a list of disputes."""

    charge: str | None = None
    payment_intent: str | None = None


class Opening(Params):
    """Why the holder disputes the charge."""

    reason: str = Field(default="fraudulent", pattern=r"^[a-z_]{1,40}$")


def open_dispute(ledger: Ledger, charge_id: str, reason: str) -> Document:
    """The new dispute over all that the charge brought; the money is taken back for now.

    Raises Fault if the charge failed or is disputed already.
    """
    charge = ledger.get("charge", charge_id)
    if not charge["captured"] or charge["disputed"]:
        raise Fault(f"Charge {charge_id} cannot be disputed.", param="id")
    ledger.save(charge | {"disputed": True})
    dispute = _dispute(ledger, charge, reason)
    events.emit(ledger, "charge.dispute.created", ledger.save(dispute))
    events.emit(ledger, "charge.dispute.funds_withdrawn", dispute)
    return dispute


def decide(ledger: Ledger, key: str, outcome: str) -> Document:
    """The dispute, ``won`` (the money returns) or ``lost``. Raises Fault if it is over already."""
    dispute = ledger.get("dispute", key)
    if dispute["status"] in ("won", "lost"):
        raise Fault("This dispute is already closed.", code="dispute_closed")
    closed = dispute | {"status": outcome, "is_charge_refundable": False}
    events.emit_change(ledger, "charge.dispute.updated", dispute, ledger.save(closed))
    events.emit(ledger, "charge.dispute.closed", closed)
    if outcome == "won":
        charge = ledger.get("charge", dispute["charge"])
        ledger.save(charge | {"disputed": False})
        events.emit(ledger, "charge.dispute.funds_reinstated", closed)
    return closed


def update(ledger: Ledger, params: DisputeUpdate, key: str) -> Document:
    """The dispute with our evidence, under review once submitted; Stripe's test evidence decides it."""
    old = ledger.get("dispute", key)
    if old["status"] in ("won", "lost"):
        raise Fault("This dispute is already closed.", code="dispute_closed")
    new = old | {"metadata": merged(old["metadata"], params.metadata) if params.metadata else old["metadata"]}
    if params.evidence:
        for name in params.evidence.keys() - set(_TEXTS):
            raise Fault(
                f"Received unknown parameter: evidence[{name[:64]}]", code="parameter_unknown", param="evidence"
            )
        new["evidence"] = old["evidence"] | params.evidence
        new["evidence_details"] = old["evidence_details"] | {"has_evidence": True}
    if params.submit and params.evidence:
        new["evidence_details"] = new["evidence_details"] | {"submission_count": 1, "submission_method": "manual"}
        new["status"] = "under_review"
    events.emit_change(ledger, "charge.dispute.updated", old, ledger.save(new))
    said = DECIDING_EVIDENCE.get(new["evidence"]["uncategorized_text"] or "")
    return decide(ledger, key, said) if said and new["status"] == "under_review" else new


def close(ledger: Ledger, _: Params, key: str) -> Document:
    """The dispute, accepted: lost."""
    return decide(ledger, key, "lost")


def list_disputes(ledger: Ledger, params: DisputeListing) -> Document:
    """A page of disputes."""
    return ledger.page("dispute", "/v1/disputes", params, given(params, "charge", "payment_intent"))


def _dispute(ledger: Ledger, charge: Document, reason: str) -> Document:
    now = ledger.now()
    return {
        "id": ledger.new_id("du"),
        "object": "dispute",
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": dict.fromkeys(_TEXTS),
        "evidence_details": {
            "due_by": now + DAYS_TO_ANSWER * 86_400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {"brand": "visa", "case_type": "chargeback", "network_reason_code": "10"},
            "type": "card",
        },
        "reason": reason,
        "status": "needs_response",
    }


ENDPOINTS = [
    Endpoint("GET", "/disputes", list_disputes, DisputeListing),
    retrieve("/disputes", "dispute"),
    Endpoint("POST", "/disputes/{id}", update, DisputeUpdate),
    Endpoint("POST", "/disputes/{id}/close", close),
]
