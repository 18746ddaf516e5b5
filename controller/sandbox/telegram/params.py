"""A method's parameters, which come by query, form, multipart or JSON and mean the same."""

from __future__ import annotations

import json
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from controller.sandbox.telegram.faults import bad_request


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
        return None if value is None else str(value)

    def number(self, name: str, default: int) -> int:
        """The value as a whole number. Raises Fault if it is none."""
        value = self._values.get(name)
        try:
            return default if value in (None, "") else int(value)
        except (TypeError, ValueError) as exc:
            raise bad_request(f"{name} must be a number") from exc

    def json(self, name: str) -> Any:
        """The value, decoded if it came as JSON text. Raises Fault for text that is no JSON."""
        value = self._values.get(name)
        if not isinstance(value, str) or not value:
            return value
        try:
            return json.loads(value)
        except ValueError as exc:
            raise bad_request(f"can't parse {name} JSON object") from exc


async def read(request: Request) -> Params:
    """The call's parameters; those of the body win over the query. Raises Fault for a body that does not parse."""
    values: dict[str, Any] = dict(request.query_params)
    body = await request.body()
    kind = request.headers.get("content-type", "")
    if not body:
        return Params(values)
    if kind.startswith("application/json"):
        values |= _object(body)
    elif kind.startswith("multipart/form-data"):
        values |= _parts(body, kind)
    else:
        values |= dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    return Params(values)


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except ValueError as exc:
        raise bad_request("can't parse request JSON object") from exc
    if not isinstance(values, dict):
        raise bad_request("can't parse request JSON object")
    return values


def _parts(body: bytes, kind: str) -> dict[str, Any]:
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    values = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            values[name] = content.decode(errors="replace")
    return values
