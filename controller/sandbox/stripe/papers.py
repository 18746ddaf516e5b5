"""An invoice on paper: a PDF of one page, written by hand because a few lines of text need no library."""

from __future__ import annotations

from datetime import UTC, datetime

from controller.sandbox.documents import Document

_MOST_LINES = 40


def of_invoice(invoice: Document, merchant: str) -> bytes:
    """The PDF: who asks whom for what, and whether it is paid."""
    rows = [
        (18, f"Invoice {invoice['number']}"),
        (11, f"{merchant} - SANDBOX, no money moves"),
        (11, f"To: {invoice['customer_email'] or invoice['customer']}"),
        (11, f"Issued: {datetime.fromtimestamp(invoice['created'], UTC):%Y-%m-%d}   Status: {invoice['status']}"),
        (11, ""),
        *((11, f"{_money(line['amount'], invoice)}   {line['description']}") for line in invoice["lines"]["data"]),
        (11, ""),
        (11, f"Total {_money(invoice['total'], invoice)}"),
        (13, f"Amount due {_money(invoice['amount_due'], invoice)}"),
    ]
    return _pdf(rows[:_MOST_LINES])


def _money(amount: int, invoice: Document) -> str:
    return f"{amount / 100:.2f} {invoice['currency'].upper()}"


def _pdf(rows: list[tuple[int, str]]) -> bytes:
    text = b"BT 56 770 Td 20 TL\n" + b"".join(_row(size, words) for size, words in rows) + b"ET"
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    tail = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, len(body))
    return body + head + table + tail


def _row(size: int, words: str) -> bytes:
    escaped = words.encode("cp1252", "replace").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    return b"/F1 %d Tf (%s) Tj T*\n" % (size, escaped)
