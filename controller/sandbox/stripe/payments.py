"""What moves money: payment intents, their charges, and which invoice each of them pays."""

from __future__ import annotations

from controller.sandbox.documents import Document
from controller.sandbox.stripe import disputes, events
from controller.sandbox.stripe.cards import Verdict, disputed_as
from controller.sandbox.stripe.endpoints import Endpoint, retrieve
from controller.sandbox.stripe.ledger import Ledger, listed
from controller.sandbox.stripe.params import Listing, given


class ChargeListing(Listing):
    """Filters of a list of charges."""

    customer: str | None = None
    payment_intent: str | None = None


class IntentListing(Listing):
    """Filter of a list of payment intents."""

    customer: str | None = None


class InvoicePaymentListing(Listing):
    """Filters of a list of what paid invoices."""

    invoice: str | None = None
    status: str | None = None


def attempt(ledger: Ledger, invoice: Document, method: Document | None, verdict: Verdict) -> Document:
    """The charge for what the invoice asks, with its payment intent moved along; ``method`` None is by other means."""
    intent = _intent(ledger, invoice)
    made = _charge(ledger, invoice, intent, method, verdict)
    events.emit(ledger, f"charge.{made['status']}", ledger.save(made))
    refused = "requires_action" if verdict.wants_holder else "requires_payment_method"
    intent |= {
        "amount_received": made["amount_captured"],
        "latest_charge": made["id"],
        "last_payment_error": None if verdict.paid else _error(made, verdict),
        "payment_method": method["id"] if method else None,
        "status": "succeeded" if verdict.paid else refused,
    }
    ledger.save(intent)
    events.emit(ledger, f"payment_intent.{'succeeded' if verdict.paid else 'payment_failed'}", intent)
    if verdict.paid:
        _settle(ledger, invoice, intent)
        if reason := disputed_as(method):
            disputes.open_dispute(ledger, made["id"], reason)
    return made


def await_money(ledger: Ledger, invoice: Document, method: Document) -> None:
    """The invoice's payment is on its way, as with a boleto that was printed."""
    intent = _intent(ledger, invoice)
    intent |= {"payment_method": method["id"], "payment_method_types": [method["type"]], "status": "processing"}
    events.emit(ledger, "payment_intent.processing", ledger.save(intent))


def is_on_its_way(ledger: Ledger, invoice_id: str) -> bool:
    """Whether money for the invoice was sent and has not arrived yet."""
    intent = intent_of(ledger, {"id": invoice_id})
    return intent is not None and intent["status"] == "processing"


def intent_of(ledger: Ledger, invoice: Document) -> Document | None:
    """The invoice's payment intent, or None if nothing was ever to be paid."""
    found = ledger.all("invoice_payment", {"invoice": invoice["id"]})
    return ledger.get("payment_intent", found[-1]["payment"]["payment_intent"]) if found else None


def abandon(ledger: Ledger, invoice: Document) -> None:
    """An invoice that is void or written off is paid no more: its intent is canceled."""
    for payment in ledger.all("invoice_payment", {"invoice": invoice["id"], "status": "open"}):
        now = ledger.now()
        ledger.save(
            payment | {"status": "canceled", "status_transitions": payment["status_transitions"] | {"canceled_at": now}}
        )
        intent = ledger.get("payment_intent", payment["payment"]["payment_intent"])
        intent |= {"status": "canceled", "canceled_at": now, "cancellation_reason": "void_invoice"}
        events.emit(ledger, "payment_intent.canceled", ledger.save(intent))


def of_invoice(ledger: Ledger, invoice_id: str) -> Document:
    """What pays the invoice, as a list object."""
    return listed(ledger.all("invoice_payment", {"invoice": invoice_id}), f"/v1/invoice_payments?invoice={invoice_id}")


def refunds_of(ledger: Ledger, charge_id: str) -> Document:
    """What was given back of the charge, as a list object, newest first."""
    return listed(ledger.all("refund", {"charge": charge_id})[::-1], f"/v1/charges/{charge_id}/refunds")


def list_charges(ledger: Ledger, params: ChargeListing) -> Document:
    """A page of charges."""
    return ledger.page("charge", "/v1/charges", params, given(params, "customer", "payment_intent"))


def list_intents(ledger: Ledger, params: IntentListing) -> Document:
    """A page of payment intents."""
    return ledger.page("payment_intent", "/v1/payment_intents", params, given(params, "customer"))


def list_invoice_payments(ledger: Ledger, params: InvoicePaymentListing) -> Document:
    """A page of what pays invoices."""
    return ledger.page("invoice_payment", "/v1/invoice_payments", params, given(params, "invoice", "status"))


def _settle(ledger: Ledger, invoice: Document, intent: Document) -> None:
    [payment] = ledger.all("invoice_payment", {"invoice": invoice["id"], "payment.payment_intent": intent["id"]})
    transitions = payment["status_transitions"] | {"paid_at": ledger.now()}
    payment |= {"status": "paid", "amount_paid": intent["amount_received"], "status_transitions": transitions}
    events.emit(ledger, "invoice_payment.paid", ledger.save(payment))


def _intent(ledger: Ledger, invoice: Document) -> Document:
    found = intent_of(ledger, invoice)
    if found is not None and found["status"] not in ("canceled", "succeeded"):
        return found
    key = ledger.new_id("pi")
    nothing: Document = dict.fromkeys(
        (
            "allowed_payment_method_types", "application", "application_fee_amount", "automatic_payment_methods",
            "canceled_at", "cancellation_reason", "customer_account", "excluded_payment_method_types",
            "last_payment_error", "latest_charge", "next_action", "on_behalf_of", "payment_method",
            "payment_method_configuration_details", "processing", "receipt_email", "review", "shipping",
            "statement_descriptor", "statement_descriptor_suffix", "transfer_data", "transfer_group",
        )
    )  # fmt: skip
    intent = {
        "id": key,
        "object": "payment_intent",
        **nothing,
        "amount": invoice["amount_remaining"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "capture_method": "automatic",
        "client_secret": f"{key}_secret_{ledger.new_id('x')[2:]}",
        "confirmation_method": "automatic",
        "created": ledger.now(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": "Subscription creation" if invoice["billing_reason"] == "subscription_create" else None,
        "livemode": False,
        "metadata": {},
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "setup_future_usage": "off_session",
        "status": "requires_payment_method",
    }
    events.emit(ledger, "payment_intent.created", ledger.save(intent))
    _tie(ledger, invoice, key)
    return intent


def _tie(ledger: Ledger, invoice: Document, intent_id: str) -> None:
    """What pays the invoice is this intent from now on."""
    ledger.save(
        {
            "id": ledger.new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_remaining"],
            "created": ledger.now(),
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": intent_id, "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )


def _charge(ledger: Ledger, invoice: Document, intent: Document, method: Document | None, verdict: Verdict) -> Document:
    amount = intent["amount"]
    kind = method["type"] if method else "card"
    nothing: Document = dict.fromkeys(
        (
            "application", "application_fee", "application_fee_amount", "authorization_code", "balance_transaction",
            "failure_balance_transaction", "on_behalf_of", "receipt_email", "receipt_number", "receipt_url", "review",
            "shipping", "source_transfer", "statement_descriptor", "statement_descriptor_suffix", "transfer_data",
            "transfer_group",
        )
    )  # fmt: skip
    return {
        "id": ledger.new_id("ch"),
        "object": "charge",
        **nothing,
        "amount": amount,
        "amount_captured": amount if verdict.paid else 0,
        "amount_refunded": 0,
        "billing_details": (method or {}).get("billing_details") or dict.fromkeys(("address", "email", "name")),
        "calculated_statement_descriptor": "SANDBOX",
        "captured": verdict.paid,
        "created": ledger.now(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": f"Payment for Invoice {invoice['number']}",
        "disputed": False,
        "failure_code": None if verdict.paid else verdict.code,
        "failure_message": None if verdict.paid else verdict.message,
        "fraud_details": {},
        "livemode": False,
        "metadata": {},
        "outcome": _outcome(verdict),
        "paid": verdict.paid,
        "payment_intent": intent["id"],
        "payment_method": method["id"] if method else None,
        "payment_method_details": {"type": kind, kind: (method or {}).get(kind) or {}},
        "refunded": False,
        "status": "succeeded" if verdict.paid else "failed",
    }


def _outcome(verdict: Verdict) -> Document:
    return {
        "advice_code": None if verdict.paid else "try_again_later",
        "network_advice_code": None,
        "network_decline_code": None if verdict.paid else "01",
        "network_status": "approved_by_network" if verdict.paid else "declined_by_network",
        "reason": verdict.decline_code,
        "risk_level": "normal",
        "seller_message": "Payment complete." if verdict.paid else "The bank did not return any further details.",
        "type": "authorized" if verdict.paid else "issuer_declined",
    }


def _error(charge: Document, verdict: Verdict) -> Document:
    fault = verdict.fault()
    return {**fault.error, "charge": charge["id"]}


ENDPOINTS = [
    Endpoint("GET", "/charges", list_charges, ChargeListing),
    retrieve("/charges", "charge"),
    Endpoint("GET", "/payment_intents", list_intents, IntentListing),
    retrieve("/payment_intents", "payment_intent"),
    Endpoint("GET", "/invoice_payments", list_invoice_payments, InvoicePaymentListing),
    retrieve("/invoice_payments", "invoice_payment"),
]
