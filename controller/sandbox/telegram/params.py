"""A method's parameters, which come by query, form, multipart or JSON and mean the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.parser import HeaderParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from controller.sandbox.telegram.faults import Fault, bad_request

LARGEST_BODY = 52 * 1024 * 1024
"""A file of 50 MB and what comes with it."""


@dataclass(frozen=True)
class Upload:
    """A file that came with a call."""

    name: str
    content_type: str
    content: bytes


class Params:
    """The parameters of one call; forms carry numbers and JSON as text."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def get(self, name: str) -> Any:
        """The value as it came, or None."""
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """The value as text, or None."""
        value = self._values.get(name)
        return None if value is None or isinstance(value, Upload) else str(value)

    def number(self, name: str, default: int) -> int:
        """The value as a whole number. Raises Fault if it is none."""
        value = self._values.get(name)
        try:
            return default if value in (None, "") else int(value)
        except (TypeError, ValueError) as exc:
            raise bad_request(f"{name} must be a number") from exc

    def flag(self, name: str) -> bool:
        """Whether the value is true, in any spelling that Telegram takes."""
        return (self.text(name) or "").lower() in ("true", "1", "yes", "t", "y")

    def json(self, name: str) -> Any:
        """The value, decoded if it came as JSON text. Raises Fault for text that is no JSON."""
        value = self._values.get(name)
        if not isinstance(value, str) or not value:
            return value
        try:
            return json.loads(value)
        except ValueError as exc:
            raise bad_request(f"can't parse {name} JSON object") from exc

    def upload(self, name: str) -> Upload | None:
        """The file in the part ``name``, or in the one to which its ``attach://`` points; None if it is no file."""
        value = self._values.get(name)
        if isinstance(value, str) and value.startswith("attach://"):
            value = self._values.get(value.removeprefix("attach://"))
        return value if isinstance(value, Upload) else None

    def with_values(self, **values: Any) -> Params:
        """These parameters, with ``values`` in place of what they replace."""
        return Params(self._values | values)


async def read(request: Request) -> Params:
    """The call's parameters; those of the body win over the query.

    Raises Fault for a body that does not parse or is too large.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise Fault(413, "Request Entity Too Large")
    return Params(dict(request.query_params) | decoded(bytes(body), request.headers.get("content-type", "")))


def decoded(body: bytes, kind: str) -> dict[str, Any]:
    """The parameters in a body of this content type. Raises Fault if it does not parse."""
    if not body:
        return {}
    if kind.startswith("application/json"):
        return _object(body)
    if kind.startswith("multipart/form-data"):
        return _parts(body, kind)
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except ValueError as exc:
        raise bad_request("can't parse request JSON object") from exc
    if not isinstance(values, dict):
        raise bad_request("can't parse request JSON object")
    return values


def _parts(body: bytes, kind: str) -> dict[str, Any]:
    boundary = HeaderParser(policy=HTTP).parsestr(f"Content-Type: {kind}").get_boundary()
    if not boundary:
        raise bad_request("boundary parameter is missing in the request")
    values: dict[str, Any] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        if part.startswith(b"--"):  # the closing boundary
            break
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = HeaderParser(policy=HTTP).parsestr(head.decode(errors="replace"))
        name = headers.get_param("name", header="content-disposition")
        if isinstance(name, str):
            values[name] = _value(headers.get_filename(), headers.get_content_type(), content)
    return values


def _value(filename: str | None, kind: str, content: bytes) -> Upload | str:
    if filename is None:
        return content.decode(errors="replace")
    return Upload(filename.replace("\\", "/").rpartition("/")[2] or "file", kind, content)
