"""What Prometheus sees of a web application's answers, also of those that nobody meant to give."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from api import counts
from controller.clients import stripe  # noqa: F401, it counts for the whole process

ROUTE = "/things/{name}"


async def told(method: str, path: str) -> str:
    """The metrics of an application with one broken and one whole route, after one request."""
    app = FastAPI()
    counts.install(app, "x")

    @app.get(ROUTE)
    async def read(name: str) -> int:
        return 1 // len(name.removeprefix("broken"))

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        await http.request(method, path)
        return (await http.get("/metrics")).text


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/things/a", f'method="GET",route="{ROUTE}",status="200"'),
        ("GET", "/things/broken", f'method="GET",route="{ROUTE}",status="500"'),
        ("POST", "/things/a", f'method="POST",route="{ROUTE}",status="405"'),
        ("GET", "/nowhere", 'method="GET",route="unknown",status="404"'),
        ("BREW", "/nowhere", 'method="other",route="unknown",status="404"'),
    ],
)
async def test_an_answer_is_counted_by_what_the_caller_got(method: str, path: str, labels: str) -> None:
    shown = await told(method, path)
    assert f"x_requests_total{{{labels}}} 1.0" in shown
    assert "x_request_seconds_count" in shown


async def test_what_the_process_counts_elsewhere_is_on_the_same_page_once() -> None:
    shown = await told("GET", "/things/a")
    for name in ("stripe_key_refused_total", "process_resident_memory_bytes"):
        assert shown.count(f"# HELP {name} ") == 1
