"""A request's body: read up to its limit, forwarded byte for byte, except for what must change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request

from controller.core.errors import foreign
from proxy.catalog import Catalog
from proxy.errors import BadRequest, ModelNotAllowed, TooLarge, UnknownModel
from proxy.routes import Route

MAX_BYTES = 10_000_000
_REDIRECTING = frozenset(
    {"api_base", "base_url", "api_key", "api_version", "custom_llm_provider", "extra_headers", "fallbacks"}
    | {"model_list", "mock_response", "organization", "timeout"}
)
_REDIRECTING_PREFIXES = ("vertex_", "aws_", "azure_")


@dataclass(frozen=True)
class Prepared:
    """What goes upstream. ``hide_usage``: the client did not ask for the usage that we ask for."""

    model: str
    stream: bool
    hide_usage: bool
    raw: bytes = field(repr=False)
    body: dict[str, Any] = field(repr=False)

    def content(self, route: Route) -> bytes:
        """The body for ``route``: as it came, unless something must change there."""
        changed: dict[str, Any] = {}
        if route.own_name != self.model:
            changed["model"] = route.own_name
        if self.hide_usage:
            changed["stream_options"] = {**(self.body.get("stream_options") or {}), "include_usage": True}
        if not route.developer and any(_is_developer(one) for one in self.body["messages"]):
            changed["messages"] = [as_system(one) for one in self.body["messages"]]
        return orjson.dumps(self.body | changed) if changed else self.raw


async def read(request: Request) -> bytes:
    """The whole body, at most MAX_BYTES.

    Raises TooLarge as soon as it is known to be longer, whatever was announced.
    """
    if int(request.headers.get("content-length", "0")) > MAX_BYTES:
        raise TooLarge("body_too_large", limit_bytes=MAX_BYTES)
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            raise TooLarge("body_too_large", limit_bytes=MAX_BYTES)
    return b"".join(parts)


def prepare(raw: bytes, catalog: Catalog, plan: str) -> Prepared:
    """The body for the upstream.

    Raises BadRequest for anything that is not a chat request or would redirect it, UnknownModel for a model that there
    is not, ModelNotAllowed for one that ``plan`` does not have.
    """
    body = _parsed(raw)
    model = body.get("model")
    if not isinstance(model, str) or model not in catalog.models:
        raise UnknownModel("model_unknown", model=foreign(model))
    if not catalog.offered(model, plan):
        raise ModelNotAllowed("model_not_allowed", model=model, plan=plan)
    stream = body.get("stream") is True
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise BadRequest("stream_options_malformed")
    asked = options.get("include_usage") is True
    return Prepared(model, stream, hide_usage=stream and not asked, raw=raw, body=body)


def as_system(message: Any) -> Any:
    """A developer's message for a provider that does not know the role; others as they are."""
    return {**message, "role": "system"} if _is_developer(message) else message


def _is_developer(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "developer"


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise BadRequest("body_not_json") from exc
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise BadRequest("messages_missing")
    for key in body:
        if key.lower() in _REDIRECTING or key.lower().startswith(_REDIRECTING_PREFIXES):
            raise BadRequest("key_not_allowed", key=foreign(key))
    return body
