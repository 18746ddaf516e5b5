"""The pages, as a browser gets them."""

from __future__ import annotations

import re

import pytest

from tests.sandbox.mail.serving import Sink, mail

EVIL = "<script>alert(1)</script>"


def test_the_list_shows_the_newest_mail_first_and_links_to_it(sink: Sink) -> None:
    sink.send(mail("Primeiro"))
    sink.send(mail("Olá 💊", "Seu código é 123."))
    page = sink.pages.get("/").text
    assert page.index("Olá 💊") < page.index("Primeiro")
    assert 'href="/mails/2"' in page
    assert "Seu código é 123." in page


def test_an_empty_list_says_so(sink: Sink) -> None:
    assert "No mail has come yet." in sink.pages.get("/").text


def test_a_mail_shows_its_parts_and_headers(sink: Sink) -> None:
    made = mail("Fatura", "Veja https://example.com/a?b=1&c=2.\n", "<b>Veja</b>")
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="orçamento.pdf")
    sink.send(made)
    page = sink.pages.get("/mails/1").text
    assert 'href="https://example.com/a?b=1&amp;c=2"' in page
    assert "orçamento.pdf (application/pdf, 4 bytes)" in page
    assert "A loja &lt;shop@example.com&gt;" in page
    assert "MIME-Version: 1.0" in page


def test_a_mails_html_stays_in_a_sandboxed_frame(sink: Sink) -> None:
    sink.send(mail(html=EVIL))
    page = sink.pages.get("/mails/1").text
    frame = re.search(r'<iframe [^>]*sandbox="([^"]*)" src="/mails/1/html">', page)
    assert frame
    assert not {"allow-scripts", "allow-same-origin", "allow-forms", "allow-top-navigation"} & set(frame[1].split())
    assert EVIL not in page
    alone = sink.pages.get("/mails/1/html")
    assert EVIL in alone.text
    assert alone.headers["content-security-policy"].startswith("sandbox allow-popups")
    assert "default-src 'none'" in alone.headers["content-security-policy"]


def test_nothing_that_a_mail_says_becomes_markup(sink: Sink) -> None:
    made = mail(EVIL, f'{EVIL} https://example.com/"{EVIL}')
    made["X-Evil"] = EVIL
    made.add_attachment(b"", maintype="text", subtype="x", filename=f"{EVIL}.txt")
    sink.send(made)
    assert EVIL not in sink.pages.get("/").text + sink.pages.get("/mails/1").text


@pytest.mark.parametrize("path", ["/", "/mails/1"])
def test_a_page_fits_a_phone_and_runs_no_script(sink: Sink, path: str) -> None:
    sink.send(mail())
    answer = sink.pages.get(path)
    assert 'name="viewport" content="width=device-width,initial-scale=1"' in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text


def test_an_unknown_mail_is_not_found(sink: Sink) -> None:
    answer = sink.pages.get("/mails/9")
    assert (answer.status_code, "There is no such mail." in answer.text) == (404, True)
