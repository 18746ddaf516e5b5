"""Our mail client against a real SMTP server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from controller.clients import email
from controller.clients.email import Envelope, Mailer, MailSettings
from controller.core.errors import CloudError, Permanent
from controller.core.settings import SettingsError
from controller.domain.letters import Letter
from tests.mailbox import Mailbox, opened, part

LETTER = Letter("Ana já está no ar", "Olá, João\n", "<p>Olá, João</p>")
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with opened() as made:
        yield made


def mailer(url: str, **changed: Any) -> Mailer:
    return Mailer(MailSettings(smtp_url=SecretStr(url), **changed))


def envelope(to: str = "ana@example.com") -> Envelope:
    return Envelope("01k0000000000000000000000a", to, AT, "pt-BR")


async def test_the_mail_arrives_in_both_forms_with_its_accents(mailbox: Mailbox) -> None:
    await mailer(mailbox.url).send(envelope(), LETTER)
    [mail] = mailbox.mails
    assert mailbox.readers == [["ana@example.com"]]
    assert (mail["Subject"], mail["Content-Language"]) == (LETTER.subject, "pt-BR")
    assert (part(mail, "plain"), part(mail, "html").strip()) == (LETTER.text, LETTER.html)


async def test_a_second_copy_has_the_same_message_id_and_date(mailbox: Mailbox) -> None:
    sending = mailer(mailbox.url, mail_from="Claw <no-reply@openclaw.cloud>")
    for _ in range(2):
        await sending.send(envelope(), LETTER)
    assert {mail["Message-ID"] for mail in mailbox.mails} == {"<01k0000000000000000000000a@openclaw.cloud>"}
    assert len({mail["Date"] for mail in mailbox.mails}) == 1


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        ("RCPT", "550 5.1.1 No such user", email.MailboxRefused),
        ("RCPT", "451 4.7.1 Greylisted, come again", email.MailAway),
        ("DATA", "554 5.7.1 Looks like spam", email.MailRefused),
        ("DATA", "452 4.3.1 Disk full", email.MailAway),
        ("MAIL", "550 5.7.1 Sender not allowed", email.MailAway),
        ("RCPT", "421 4.3.2 Shutting down", email.MailAway),
    ],
)
async def test_each_answer_of_the_server_is_an_error_of_ours(
    mailbox: Mailbox, command: str, answer: str, error: type[CloudError]
) -> None:
    mailbox.refuse(command, answer)
    with pytest.raises(error, match=answer.split()[-1]):
        await mailer(mailbox.url).send(envelope(), LETTER)
    assert mailbox.mails == []


async def test_a_refusal_does_not_repeat_the_address(mailbox: Mailbox) -> None:
    mailbox.refuse("RCPT", "550 5.1.1 <ana@example.com>: no such user")
    with pytest.raises(email.MailboxRefused) as caught:
        await mailer(mailbox.url).send(envelope(), LETTER)
    assert (str(caught.value).count("ana@example.com"), "no such user" in str(caught.value)) == (0, True)


async def test_a_server_that_is_away_is_worth_another_try() -> None:
    with pytest.raises(email.MailAway):
        await mailer("smtp://127.0.0.1:9").send(envelope(), LETTER)


async def test_without_a_server_the_mail_is_ours_to_look_at() -> None:
    with pytest.raises(Permanent, match="mail_is_off"):
        await Mailer(MailSettings(smtp_url=None)).send(envelope(), LETTER)


@pytest.mark.parametrize("to", ["", "nobody", "a@b@c", "a@example.com\r\nBcc: b@example.com", "a b@example.com"])
async def test_an_address_that_is_none_reaches_no_server(mailbox: Mailbox, to: str) -> None:
    with pytest.raises(email.MailboxRefused):
        await mailer(mailbox.url).send(envelope(to), LETTER)
    assert mailbox.mails == []


@pytest.mark.parametrize("url", ["http://mail.example.com", "smtp://", "mail.example.com:25", "smtp://u:secret@host:x"])
def test_a_malformed_address_of_the_server_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="SMTP_URL") as caught:
        mailer(url)
    assert "secret" not in str(caught.value)


def test_a_malformed_sender_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="MAIL_FROM"):
        mailer("smtp://127.0.0.1:25", mail_from="openclaw.cloud")


@pytest.mark.parametrize(
    ("url", "tls", "start_tls", "port"),
    [
        ("smtp://u:p%40ss@mail.example.com", False, True, 587),
        ("smtps://u:p%40ss@mail.example.com", True, False, 465),
        ("smtp://u:p%40ss@127.0.0.1:2525", False, False, 2525),
    ],
)
def test_a_password_never_crosses_a_network_in_plain(url: str, tls: bool, start_tls: bool, port: int) -> None:
    server = email._server(url)
    assert (server["use_tls"], server["start_tls"], server["port"]) == (tls, start_tls, port)
    assert server["password"] == "p@ss"
