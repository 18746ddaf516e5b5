"""What is read out of a mail, however it is made."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from controller.sandbox.mail.parsing import Attachment, parse
from tests.sandbox.mail.serving import mail

HEAD = b"Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n"


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        (b"=?utf-8?q?Ol=C3=A1?=", "Olá"),
        (b"=?utf-8?b?T2zDoQ==?= =?utf-8?b?ISE=?=", "Olá!!"),
        (b"=?iso-8859-1?q?Ol=E1?= and more", "Olá and more"),
        ("Olá 💊".encode(), "Olá 💊"),
        (b"folded\r\n over two", "folded over two"),
        (b"=?nonsense?q?x?=", "=?nonsense?q?x?="),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_subject_is_decoded(header: bytes, subject: str) -> None:
    assert parse(b"Subject: " + header + b"\r\n\r\n").subject == subject


@pytest.mark.parametrize(
    ("charset", "encoding", "body", "text"),
    [
        (b"utf-8", b"quoted-printable", b"a long=\r\n line with =C3=A7=C3=A3o", "a long line with ção"),
        (b"utf-8", b"base64", b"w6fDo28=", "ção"),
        (b"iso-8859-1", b"8bit", b"\xe7\xe3o", "ção"),
        (b"nonsense", b"8bit", "ção".encode(), "ção"),
        (b"undefined", b"8bit", "ção".encode(), "ção"),
        (b"utf-7", b"7bit", b"+2D0-", "?"),
        (b"utf-8", b"8bit", b"a\r\nb", "a\nb"),
    ],
)
def test_a_text_is_decoded(charset: bytes, encoding: bytes, body: bytes, text: str) -> None:
    assert parse(HEAD % (charset, encoding) + body).text == text


def test_attachments_are_told_by_name_type_and_size() -> None:
    made = mail()
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="orçamento.pdf")
    made.add_attachment("a,b\n", subtype="csv", filename="list.csv")
    letter = parse(made.as_bytes())
    assert letter.attachments == [
        Attachment("orçamento.pdf", "application/pdf", 4),
        Attachment("list.csv", "text/csv", 4),
    ]
    assert letter.text == "Hi.\n"


def test_an_attached_text_is_not_the_mails_text() -> None:
    made = EmailMessage()
    made.add_attachment("secret", filename="notes.txt")
    letter = parse(made.as_bytes())
    assert letter.text is None
    assert [one.name for one in letter.attachments] == ["notes.txt"]


def test_a_repeated_header_keeps_all_its_values() -> None:
    assert parse(b"Received: a\r\nReceived: b\r\n\r\n").headers == {"Received": "a\nb"}


@pytest.mark.parametrize(
    "raw", [b"", b"\r\n", b"no header at all", b"Content-Type: multipart/mixed\r\n\r\n", b"\x00\xff" * 9]
)
def test_no_mail_is_too_broken_to_be_read(raw: bytes) -> None:
    assert parse(raw).subject == ""
