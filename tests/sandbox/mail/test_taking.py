"""Sending mail to the sink, and finding it again."""

from __future__ import annotations

import smtplib
import threading
from datetime import datetime
from pathlib import Path

import pytest

from controller.sandbox.mail.smtp import LARGEST_MAIL_BYTES
from tests.sandbox.mail.serving import Sink, mail, sink_in
from tests.sandbox.stripe.serving import eventually


def test_a_mail_is_kept_with_what_it_says(sink: Sink) -> None:
    sink.send(mail("Olá, Ana 💊", "Seu código é 123.\n", "<p>Seu código é <b>123</b>.</p>"))
    (kept,) = sink.messages()
    assert (kept["id"], kept["from"], kept["to"]) == (1, "shop@example.com", ["ana@example.com"])
    assert (kept["subject"], kept["text"]) == ("Olá, Ana 💊", "Seu código é 123.\n")
    assert kept["html"] == "<p>Seu código é <b>123</b>.</p>\n"
    assert kept["headers"]["From"] == "A loja <shop@example.com>"
    assert datetime.fromisoformat(kept["received_at"]).tzinfo is not None


def test_hidden_recipients_are_found_too_and_in_any_case(sink: Sink) -> None:
    with sink.connect() as client:
        client.sendmail("shop@example.com", ["Ana@Example.com", "bia@example.com"], mail().as_bytes())
    assert [one["id"] for one in sink.messages(to="ana@example.com")] == [1]
    assert [one["id"] for one in sink.messages(to="bia@example.com")] == [1]
    assert sink.messages(to="cia@example.com") == []


def test_mails_are_listed_from_a_number_on(sink: Sink) -> None:
    for subject in ("a", "b", "c"):
        sink.send(mail(subject))
    assert [one["subject"] for one in sink.messages(after=1)] == ["b", "c"]


def test_waiting_ends_with_the_mail_that_was_waited_for(sink: Sink) -> None:
    found: list[str] = []
    waiting = threading.Thread(
        target=lambda: found.extend(one["subject"] for one in sink.messages(to="ana@example.com", wait=60))
    )
    waiting.start()
    sink.send(mail("for Bia"), to="bia@example.com")
    sink.send(mail("for Ana"))
    waiting.join(timeout=10)
    assert found == ["for Ana"]


def test_waiting_in_vain_ends_with_nothing(sink: Sink) -> None:
    assert sink.messages(wait=0.05) == []


@pytest.mark.parametrize("query", ["after=x", "wait=nan", "wait=-1"])
def test_a_query_that_is_no_number_is_refused(sink: Sink, query: str) -> None:
    assert sink.control.get(f"messages?{query}").status_code == 422


def test_a_mail_is_shown_as_it_was_sent(sink: Sink) -> None:
    sent = b"Subject: x\r\nX-Odd:   kept\r\n\r\n.dot\r\nbody\r\n"
    sink.send(sent)
    assert sink.control.get("messages/1/raw").content == sent
    assert sink.control.get("messages/1").json()["subject"] == "x"
    assert sink.control.get("messages/2").status_code == 404


def test_mails_are_removed_one_by_one_by_address_or_all(sink: Sink) -> None:
    for to in ("ana@example.com", "bia@example.com", "ana@example.com", "cia@example.com"):
        sink.send(mail(), to=to)
    assert sink.control.delete("messages/4").status_code == 204
    assert sink.control.delete("messages", params={"to": "ana@example.com"}).json() == {"removed": 2}
    assert [one["id"] for one in sink.messages()] == [2]
    assert sink.control.delete("messages").json() == {"removed": 1}
    sink.send(mail())
    assert [one["id"] for one in sink.messages()] == [5]


def test_mails_survive_a_restart(tmp_path: Path) -> None:
    with sink_in(tmp_path) as before:
        before.send(mail("kept"))
    with sink_in(tmp_path) as after:
        assert [one["subject"] for one in after.messages()] == ["kept"]
        assert b"Subject: kept" in after.control.get("messages/1/raw").content


def test_a_mail_that_is_too_large_is_refused_for_good(sink: Sink) -> None:
    with sink.connect() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == str(LARGEST_MAIL_BYTES)
    with sink.connect() as client, pytest.raises(smtplib.SMTPResponseException) as caught:
        client.sendmail("shop@example.com", ["ana@example.com"], b"Subject: x\r\n\r\n" + b"x" * LARGEST_MAIL_BYTES)
    assert caught.value.smtp_code == 552
    assert sink.messages() == []


def test_any_login_is_taken(sink: Sink) -> None:
    with sink.connect() as client:
        assert client.login("anybody", "secret")[0] == 235


def test_the_next_mails_are_refused_and_then_taken_again(sink: Sink) -> None:
    sink.order("temp_fail", times=2, text="Greylisted.")
    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError, match="Greylisted") as caught:
            sink.send(mail())
        assert caught.value.smtp_code == 451
    sink.send(mail())
    assert len(sink.messages()) == 1


def test_one_recipient_is_refused_by_name(sink: Sink) -> None:
    sink.order("refuse", at="rcpt", to="gone@example.com", code=550, text="5.1.1 No such user.")
    with sink.connect() as client:
        refused = client.sendmail("shop@example.com", ["gone@example.com", "ana@example.com"], mail().as_bytes())
    assert refused == {"gone@example.com": (550, b"5.1.1 No such user.")}
    assert [one["to"] for one in sink.messages()] == [["ana@example.com"]]


def test_a_delayed_mail_is_taken_late(sink: Sink) -> None:
    sink.order("delay", seconds=600)
    with pytest.raises(smtplib.SMTPServerDisconnected), smtplib.SMTP("127.0.0.1", sink.port, timeout=0.5) as client:
        client.sendmail("shop@example.com", ["ana@example.com"], mail().as_bytes())
    sink.order("delay", seconds=0.05)
    sink.send(mail("late"))
    assert eventually(sink.messages)[0]["subject"] == "late"


def test_faults_can_be_seen_and_taken_back(sink: Sink) -> None:
    sink.order("refuse")
    assert [one["action"] for one in sink.control.get("faults").json()["faults"]] == ["refuse"]
    sink.control.delete("faults").raise_for_status()
    sink.send(mail())
    assert len(sink.messages()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"action": "refuse", "code": 451},
        {"action": "temp_fail", "code": 550},
        {"action": "delay", "code": 250},
        {"action": "refuse", "text": "two\r\nlines"},
        {"action": "refuse", "tiems": 2},
    ],
)
def test_a_fault_that_cannot_be_is_refused(sink: Sink, fault: dict[str, object]) -> None:
    assert sink.control.post("faults", json=fault).status_code == 422
