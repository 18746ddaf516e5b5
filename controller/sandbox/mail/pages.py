"""The pages that a person sees: the list of mails, and one of them."""

from __future__ import annotations

import re
from datetime import datetime
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from controller.core.errors import NotFound
from controller.sandbox.documents import Document
from controller.sandbox.mail import control

SHOWN = 200
"""The list shows so many of the newest mails."""

_LINK = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)\]]")
# A mail is a stranger's page: no scripts, no forms, nothing fetched; its links open in a tab of their own.
_FRAME = "allow-popups allow-popups-to-escape-sandbox"
_FRAME_POLICY = f"sandbox {_FRAME}; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'"

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--dim:#777;--accent:#0a6cff}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:52rem;padding:1rem}
header{display:flex;align-items:baseline;justify-content:space-between;gap:1rem;flex-wrap:wrap}
h1{font-size:1.35rem;margin:.5rem 0;overflow-wrap:anywhere}
p.dim,time,dt,.dim{color:var(--dim);font-size:.875rem}
a{color:var(--accent)}
ol{list-style:none;margin:1rem 0;padding:0;border:1px solid var(--line);border-radius:.75rem;overflow:hidden}
li+li{border-top:1px solid var(--line)}
li a{display:grid;grid-template-columns:1fr auto;gap:0 1rem;padding:.75rem 1rem;color:inherit;text-decoration:none}
li a:hover,li a:focus-visible{background:var(--soft)}
li strong,li span{min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
li span{grid-column:1/-1;color:var(--dim);font-size:.875rem}
@media(max-width:30rem){header p{margin:0}li a{grid-template-columns:1fr}li strong{white-space:normal}}
dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;margin:1rem 0}
dd{margin:0;overflow-wrap:anywhere}
section,details{border:1px solid var(--line);border-radius:.75rem;margin:1rem 0;overflow:hidden}
h2,summary{font-size:.875rem;font-weight:600;margin:0;padding:.5rem 1rem;background:var(--soft);cursor:default}
summary{cursor:pointer}
iframe{display:block;width:100%;height:60vh;border:0;background:#fff;color-scheme:light}
pre{font:.875rem/1.5 ui-monospace,monospace;margin:0;padding:1rem;white-space:pre-wrap;overflow-wrap:anywhere}
.empty{border:1px dashed var(--line);border-radius:.75rem;padding:3rem 1rem;text-align:center}
"""
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title><style>{style}</style></head>
<body>{content}</body></html>"""


async def list_mails(request: Request) -> Response:
    """The newest mails, newest first."""
    mails = control.inbox(request).newest(SHOWN)
    count = f"{len(mails)} mail{'' if len(mails) == 1 else 's'}." if mails else ""
    head = f"<header><h1>Mail</h1><p class=dim>{count} This sink keeps every mail and sends none.</p></header>"
    rows = "".join(_row(mail) for mail in mails)
    return _page("Mail", head + (f"<ol>{rows}</ol>" if rows else '<p class="empty dim">No mail has come yet.</p>'))


async def show_mail(request: Request) -> Response:
    """One mail: its HTML in a frame of its own, its text, its attachments' names and its headers."""
    try:
        mail = control.mail(request)
    except NotFound:
        return _page("No such mail", '<p><a href="/">All mail</a></p><h1>There is no such mail.</h1>', 404)
    parts = [
        '<p><a href="/">All mail</a></p>',
        f"<h1>{_subject(mail)}</h1>",
        f"<dl><dt>From</dt><dd>{escape(mail['headers'].get('From') or mail['from'])}</dd>"
        f"<dt>To</dt><dd>{escape(', '.join(mail['to']))}</dd><dt>Received</dt><dd>{_time(mail)}</dd></dl>",
        _html_part(mail),
        _text_part(mail),
        _attachments(mail),
        _headers(mail),
    ]
    return _page(mail["subject"] or "(no subject)", "".join(parts))


async def show_html(request: Request) -> Response:
    """The HTML of a mail alone, for the frame: sandboxed also when it is opened directly."""
    mail = control.mail(request)
    content = '<base target="_blank">' + (mail["html"] or "")
    headers = {"content-security-policy": _FRAME_POLICY, "referrer-policy": "no-referrer"}
    return HTMLResponse(content, headers=headers)


def _row(mail: Document) -> str:
    start = " ".join((mail["text"] or "").split())[:140]
    who = escape(f"{mail['from']} → {', '.join(mail['to'])}")
    said = f"<span>{escape(start)}</span>" if start else ""
    shown = f"<strong>{_subject(mail)}</strong>{_time(mail)}<span>{who}</span>{said}"
    return f'<li><a href="/mails/{mail["id"]}">{shown}</a></li>'


def _subject(mail: Document) -> str:
    return escape(mail["subject"]) or "(no subject)"


def _time(mail: Document) -> str:
    at = datetime.fromisoformat(mail["received_at"])
    return f'<time datetime="{at.isoformat()}">{at:%d %b %H:%M:%S} UTC</time>'


def _html_part(mail: Document) -> str:
    if mail["html"] is None:
        return ""
    frame = f'<iframe title="The mail\'s HTML" sandbox="{_FRAME}" src="/mails/{mail["id"]}/html"></iframe>'
    return f"<section><h2>HTML</h2>{frame}</section>"


def _text_part(mail: Document) -> str:
    if mail["text"] is None:
        return ""
    return f"<section><h2>Text</h2><pre>{_linked(mail['text'])}</pre></section>"


def _linked(text: str) -> str:
    """``text`` for a page, its addresses as links."""
    made, at = [], 0
    for found in _LINK.finditer(text):
        address = escape(found[0])
        link = f'<a href="{address}" rel="noreferrer" target="_blank">{address}</a>'
        made += [escape(text[at : found.start()]), link]
        at = found.end()
    return "".join([*made, escape(text[at:])])


def _attachments(mail: Document) -> str:
    rows = [f"{one['name']} ({one['type']}, {one['bytes']} bytes)" for one in mail["attachments"]]
    return f"<section><h2>Attachments</h2><pre>{escape(chr(10).join(rows))}</pre></section>" if rows else ""


def _headers(mail: Document) -> str:
    rows = "\n".join(f"{name}: {value}" for name, value in mail["headers"].items())
    return f"<details><summary>Headers</summary><pre>{escape(rows)}</pre></details>"


def _page(title: str, content: str, status: int = 200) -> Response:
    body = _PAGE.format(title=escape(title), style=_STYLE, content=content)
    return HTMLResponse(body, status, headers={"content-security-policy": _PAGE_POLICY})


ROUTES = [
    Route("/", list_mails, methods=["GET"]),
    Route("/mails/{id:int}", show_mail, methods=["GET"]),
    Route("/mails/{id:int}/html", show_html, methods=["GET"]),
]
