"""What a mail says: decoded headers, its text and HTML, the names of what is attached.

Nothing here raises over a malformed mail: what cannot be decoded is told with replacement characters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value, parseaddr


@dataclass(frozen=True)
class Attachment:
    """A part that is no text to read: its file name, media type and decoded size."""

    name: str
    type: str
    bytes: int


@dataclass
class Letter:
    """A decoded mail. Of several texts or HTML parts the first counts."""

    headers: dict[str, str]
    """By name as it was written; the values of a repeated header are lines of one."""
    text: str | None = None
    html: str | None = None
    attachments: list[Attachment] = field(default_factory=list)

    @property
    def subject(self) -> str:
        """The subject; empty without one."""
        return self.header("subject")

    @property
    def sender(self) -> str:
        """The address in the From header; empty without one."""
        return parseaddr(self.header("from"))[1]

    def header(self, name: str) -> str:
        """A header by its name in any case; empty without one."""
        return next((value for one, value in self.headers.items() if one.lower() == name), "")


def parse(raw: bytes) -> Letter:
    """The letter in a mail as it was sent."""
    message = message_from_bytes(raw)
    letter = Letter(_headers(message))
    for part in message.walk():
        if not part.is_multipart():
            _take(letter, part)
    return letter


def _take(letter: Letter, part: Message) -> None:
    kind, name = part.get_content_type(), _file_name(part)
    is_attached = bool(name) or part.get_content_disposition() == "attachment"
    if kind == "text/plain" and not is_attached and letter.text is None:
        letter.text = _text(part)
    elif kind == "text/html" and not is_attached and letter.html is None:
        letter.html = _text(part)
    else:
        letter.attachments.append(Attachment(name or "unnamed", kind, len(_content(part))))


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _text(part: Message) -> str:
    charset = part.get_content_charset("utf-8")
    try:
        text = _content(part).decode(charset, "replace")
    except (LookupError, ValueError):  # a charset that nobody knows, or that decodes nothing
        text = _content(part).decode("utf-8", "replace")
    return _storable(text.replace("\r\n", "\n"))


def _file_name(part: Message) -> str:
    for header, parameter in (("content-disposition", "filename"), ("content-type", "name")):
        given = part.get_param(parameter, header=header)
        if given:
            return _decoded(collapse_rfc2231_value(given))
    return ""


def _headers(message: Message) -> dict[str, str]:
    made: dict[str, str] = {}
    for name, value in message.raw_items():
        text = _decoded(str(value))
        made[name] = f"{made[name]}\n{text}" if name in made else text
    return made


def _decoded(value: str) -> str:
    """A header's value with encoded words decoded and folds undone; raw UTF-8 is taken as such."""
    plain = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    unfolded = plain.replace("\r\n", "").replace("\n", "")
    try:
        return _storable(str(make_header(decode_header(unfolded)))).strip()
    except (LookupError, ValueError, HeaderParseError):
        return unfolded.strip()


def _storable(text: str) -> str:
    """``text`` without lone surrogates, which some charsets yield and UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
