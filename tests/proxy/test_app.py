"""What nobody foresaw is seen in the metrics as well."""

from __future__ import annotations

from typing import Any, cast

import pytest
from pydantic import SecretStr
from starlette.requests import Request

from controller.core import ids
from controller.domain import token_format
from proxy import dialects
from proxy.app import Proxy
from proxy.routes import plan
from proxy.settings import ProxySettings
from proxy.upstream import Upstream
from tests import factories


class Broken:
    """A desk where nothing works as it was meant to."""

    @property
    def gate(self) -> Any:
        """Raises what no door expects."""
        raise ZeroDivisionError


async def test_an_error_that_nobody_foresaw_is_counted_and_goes_on() -> None:
    settings = ProxySettings(llm_upstream_url="http://127.0.0.1:9/v1", llm_upstream_key=SecretStr("sk-any"))
    routes = plan(settings)
    nothing = cast(Any, None)
    proxy = Proxy(settings, routes, factories.PEPPER, Upstream(settings, routes), cast(Any, Broken()), nothing)
    token = token_format.make("proxy", ids.new(), ids.secret())
    request = Request({"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]})
    with pytest.raises(ZeroDivisionError):
        await proxy.answer(request, dialects.CHAT)
    assert b'proxy_requests_total{status="500"} 1.0' in (await proxy.metrics(request)).body
