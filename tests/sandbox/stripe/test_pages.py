"""The hosted pages of a purchase, as a browser without JavaScript uses them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import stripe

from tests.sandbox.stripe.account import Account
from tests.sandbox.stripe.conftest import account_in

ASKS = "4000 0027 6000 3184"


def _page(account: Account, **more: object) -> tuple[str, str]:
    """A session's id and the address of its page."""
    session = account.session(account.price(), **more)
    assert session.url is not None
    return session.id, session.url


def test_the_page_says_what_it_costs_and_that_it_is_a_sandbox(account: Account) -> None:
    text = httpx.get(_page(account)[1]).text
    assert "US$ 19.00" in text
    assert "Sandbox" in text
    assert "<script" not in text


def test_the_page_speaks_the_sessions_language(account: Account) -> None:
    _, url = _page(account, locale="pt-BR", customer_email="ana@example.com")
    text = httpx.get(url).text
    assert '<html lang="pt-BR">' in text
    assert "Forma de pagamento" in text
    assert "ana@example.com" in text


def test_a_person_pays_by_card_and_returns_to_the_shop(account: Account) -> None:
    key, url = _page(account)
    answer = account.type_card(url, email="ana@example.com")
    assert answer.headers["location"] == f"https://shop.example/done?session={key}"
    paid = account.api.v1.checkout.sessions.retrieve(key)
    assert paid.customer_details is not None
    assert (paid.payment_status, paid.customer_details.email) == ("paid", "ana@example.com")
    assert "https://shop.example/done" in httpx.get(url).text


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        ("4000 0000 0000 0002", "Your card was declined."),
        ("4000 0000 0000 9995", "insufficient funds"),
        ("4000 0000 0000 0341", "Your card was declined."),
    ],
)
def test_a_refused_card_buys_nothing_and_another_may_be_tried(account: Account, number: str, sentence: str) -> None:
    key, url = _page(account)
    refused = account.type_card(url, number, email="ana@example.com")
    assert (refused.status_code, sentence in refused.text) == (402, True)
    assert account.api.v1.checkout.sessions.retrieve(key).status == "open"
    assert account.api.v1.subscriptions.list({"status": "all"}).data == []
    assert account.type_card(url, email="ana@example.com").status_code == 303


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"email": "ana@"}, "Enter an email address."),
        ({"number": "4242 4242 4242 4241"}, "Your card number is invalid."),
        ({"number": "4111 1111 1111 1111"}, "This sandbox takes test cards only"),
        ({"expiry": "12 / 20"}, "expiration date"),
        ({"cvc": "1"}, "security code"),
        ({"holder": ""}, "Enter a name."),
        ({"method": "boleto", "name": "Ana", "tax_id": "123"}, "Enter a CPF"),
    ],
)
def test_what_is_typed_wrong_is_named(account: Account, typed: dict[str, str], sentence: str) -> None:
    _, url = _page(account, payment_method_types=["card", "boleto"])
    answer = account.type_card(url, **{"email": "ana@example.com", **typed})
    assert (answer.status_code, sentence in answer.text) == (422, True)


def test_a_typed_card_number_is_kept_neither_on_the_page_nor_on_disk(tmp_path: Path) -> None:
    with account_in(tmp_path) as account:
        _, url = _page(account)
        page = account.type_card(url, "4111 1111 1111 1111", email="ana@example.com").text
        account.follow(account.type_card(url, "4000 0025 0000 3155", email="ana@example.com"), answer="approve")
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert "4111" not in page
    assert b"pm_" in kept
    assert b"4000 0025" not in kept
    assert b"40000025" not in kept


@pytest.mark.parametrize(("answer", "status"), [("approve", "complete"), ("deny", "open")])
def test_the_bank_asks_and_the_holder_decides(account: Account, answer: str, status: str) -> None:
    key, url = _page(account)
    asked = account.type_card(url, ASKS, email="ana@example.com")
    assert "US$ 19.00" in account.follow(asked).text
    decided = account.follow(asked, answer=answer)
    assert account.api.v1.checkout.sessions.retrieve(key).status == status
    if answer == "deny":
        assert "could not authenticate" in account.follow(decided).text
    else:
        assert decided.headers["location"].startswith("https://shop.example/done")


def test_a_boleto_is_printed_and_paid_later(account: Account) -> None:
    session = account.session(account.price("br", 9900, "brl"), locale="pt-BR")
    person = {"method": "boleto", "email": "ana@example.com", "name": "Ana", "tax_id": "123.456.789-09"}
    printed = httpx.post(str(session.url), data=person)
    assert "R$ 99,00" in account.follow(printed).text
    waiting = account.api.v1.checkout.sessions.retrieve(session.id)
    assert (waiting.status, waiting.payment_status) == ("complete", "unpaid")
    account.follow(printed, outcome="paid")
    assert account.api.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    assert account.told("checkout.session.completed", "checkout.session.async_payment_succeeded", "invoice.paid") == [
        "checkout.session.completed",
        "invoice.paid",
        "checkout.session.async_payment_succeeded",
    ]


def test_a_promotion_code_lowers_the_price_before_it_is_paid(account: Account) -> None:
    coupon = account.api.v1.coupons.create({"percent_off": 100, "duration": "once"})
    account.api.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "FREE"})
    key, url = _page(account, allow_promotion_codes=True)
    assert "This code is invalid." in httpx.post(f"{url}/code", data={"code": "NONE"}).text
    httpx.post(f"{url}/code", data={"code": "free"})
    assert "US$ 0.00" in httpx.get(url).text
    account.type_card(url, email="ana@example.com")
    session = account.api.v1.checkout.sessions.retrieve(key)
    assert (session.amount_total, session.payment_status) == (0, "no_payment_required")


def test_a_trial_is_started_on_the_page_and_nothing_is_paid(account: Account) -> None:
    key, url = _page(account, subscription_data={"trial_period_days": 14})
    assert "14 days free" in httpx.get(url).text
    account.type_card(url, email="ana@example.com")
    session = account.api.v1.checkout.sessions.retrieve(key, {"expand": ["subscription"]})
    assert isinstance(session.subscription, stripe.Subscription)
    assert (session.payment_status, session.subscription.status) == ("no_payment_required", "trialing")


def test_going_back_leaves_the_session_open(account: Account) -> None:
    key, url = _page(account)
    assert "https://shop.example/back" in httpx.get(url).text
    assert account.api.v1.checkout.sessions.retrieve(key).status == "open"


@pytest.mark.parametrize("path", ["/c/pay/cs_none", "/i/in_none", "/p/session/bps_none", "/authenticate/3ds_none"])
def test_an_address_that_leads_nowhere_is_a_page_that_says_so(account: Account, path: str) -> None:
    answer = httpx.get(account.base + path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_a_payment_link_carries_the_reference_of_its_address(account: Account) -> None:
    fields: stripe.params.PaymentLinkCreateParams = {"line_items": [{"price": account.price(), "quantity": 1}]}
    link = account.api.v1.payment_links.create(fields)
    answer = httpx.get(f"{link.url}?client_reference_id=d1&prefilled_email=ana%40example.com")
    session = account.api.v1.checkout.sessions.retrieve(answer.headers["location"].rsplit("/", 1)[-1])
    assert (session.client_reference_id, session.customer_email) == ("d1", "ana@example.com")


def test_an_open_invoice_is_paid_on_its_page_with_another_card(account: Account) -> None:
    subscription = account.subscribe(account.price(), "pm_card_chargeCustomerFail")
    invoice = account.api.v1.invoices.retrieve(str(subscription.latest_invoice))
    page = str(invoice.hosted_invoice_url)
    assert "Open" in httpx.get(page).text
    assert httpx.post(page).status_code == 402
    asked = account.type_card(page, ASKS)
    account.follow(asked, answer="approve")
    assert account.api.v1.invoices.retrieve(invoice.id).status == "paid"
    assert account.api.v1.subscriptions.retrieve(subscription.id).status == "active"
    assert httpx.get(str(invoice.invoice_pdf)).content.startswith(b"%PDF-")
