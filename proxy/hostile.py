"""Keys of a body that could send a call elsewhere or under another key: refused, however they are spelled."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from controller.core.errors import foreign
from proxy.errors import BadRequest

_REDIRECTING = frozenset(
    {
        "apibase",
        "baseurl",
        "apikey",
        "apiversion",
        "apitype",
        "customllmprovider",
        "extraheaders",
        "headers",
        "fallbacks",
    }
    | {"extrabody", "extraquery", "contextwindowfallbacks", "modellist", "mockresponse", "organization", "timeout"}
    | {"requesttimeout", "streamtimeout", "deploymentid", "client", "proxy", "proxies", "sslverify", "numretries"}
    | {"maxretries", "userconfig", "router", "inputcostpertoken", "outputcostpertoken", "modelinfo", "dropparams"}
    | {"allowedopenaiparams", "additionaldropparams", "defaultheaders", "defaultquery", "httpclient", "logitloggerfn"}
    | {"callbacks", "successcallback", "failurecallback", "endpoint", "azureendpoint", "azureadtoken", "hosturl"}
)
_PREFIXES = ("vertex", "aws", "azure", "litellm", "mock", "langfuse", "watsonx", "googleapplication")
CONTENT = frozenset({"messages", "system", "tools", "functions", "response_format", "input", "prediction"})
"""What a model reads: a tool may well have a parameter called ``timeout``, and nobody obeys it here."""

_DEEPEST = 32
_ESCAPED_ASCII = re.compile(rb"\\u00[0-7]")


def check(body: dict[str, Any]) -> None:
    """Return if no key redirects, also in what is nested beside the content. Raises BadRequest."""
    for key, value in body.items():
        _check_key(key)
        if key not in CONTENT:
            _check_nested(value, 1)


def ambiguous(raw: bytes, body: dict[str, Any], deciding: Iterable[tuple[str, bytes]]) -> bool:
    """Whether another parser could read one of the deciding keys otherwise: it stands there twice, or in disguise.

    Each comes with how it is spelled in JSON.

    Such a body is sent as we understood it, not as it was written.
    """
    if _ESCAPED_ASCII.search(raw):
        return True
    return any(raw.count(spelled) > (key in body) for key, spelled in deciding)


def _check_nested(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise BadRequest("body_too_deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_key(key)
            _check_nested(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_nested(inner, depth + 1)


def _check_key(key: str) -> None:
    name = plain(key)
    if name in _REDIRECTING or name.startswith(_PREFIXES):
        raise BadRequest("key_not_allowed", key=foreign(key))


def plain(key: str) -> str:
    """The key without what only disguises it: case, width, accents, and everything that is no letter or digit."""
    if key.isascii() and (bare := key.replace("_", "")).isalnum():  # all keys that anybody really uses
        return bare.lower()
    wide = unicodedata.normalize("NFKD", key).casefold()
    return "".join(letter for letter in wide if letter.isalnum())
