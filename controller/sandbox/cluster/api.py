"""The Kubernetes API over the store, as far as the official clients and kubectl need it here.

Not here: who may do what (everybody everything), and schemas beyond what ``schemas`` checks when asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from controller.core.errors import Refused
from controller.sandbox.cluster import discovery, logs, openapi, reading, refusals, render, reviews, writing
from controller.sandbox.cluster.calls import Call
from controller.sandbox.cluster.render import Charts
from controller.sandbox.cluster.store import Store
from controller.sandbox.cluster.usage import Usage

# The client insists on every field; what a stand-in has no honest value for is empty.
VERSION = {"major": "1", "minor": "37", "gitVersion": "v1.37.0-sandbox"} | dict.fromkeys(
    ("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), ""
)
_DISCOVERY = ("/version", "/api", "/api/v1", "/apis", "/apis/{group}", "/apis/{group}/{version}")
_REVIEWS = ("/apis/authorization.k8s.io/v1/{plural}", "/apis/authentication.k8s.io/v1/{plural}")
CHARTS = "/_charts"
"""Where the Helm repository is, which is no part of Kubernetes' API."""

_METRICS = "/apis/metrics.k8s.io/v1beta1"
_VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True)
class Parts:
    """What is shown beside the store: containers' output and what they use, and the releases in the Helm repository.

    Nothing where no kubelet runs, and no repository without charts.
    """

    logs: logs.Folder = field(default_factory=lambda: logs.Folder(None))
    usage: Usage = field(default_factory=Usage)
    charts: Charts | None = None


def app(store: Store, parts: Parts | None = None) -> Starlette:
    """The API server over ``store``; it must be served on the event loop that uses the store."""
    shown = parts or Parts()

    async def serve(request: Request) -> Response:
        call = Call(store, request)
        return reading.answer(call, shown.logs) if request.method == "GET" else await writing.answer(call)

    async def measure(request: Request) -> Response:
        return JSONResponse(shown.usage.answer(store, request.path_params.get("rest", ""), request.query_params))

    async def list_charts(_: Request) -> Response:
        found = await asyncio.to_thread(shown.charts.releases) if shown.charts else []
        return JSONResponse(render.index(found))

    return Starlette(
        routes=[
            Route(f"{CHARTS}/index.yaml", list_charts),
            *(Route(path + end, _discover) for path in _DISCOVERY for end in ("", "/")),
            *(Route(path, _alive) for path in ("/healthz", "/livez", "/readyz")),
            *(Route(path, _review, methods=["POST"]) for path in _REVIEWS),
            Route("/openapi/{path:path}", _describe),
            Route(_METRICS + "/{rest:path}", measure),
            Route("/{path:path}", serve, methods=_VERBS),
        ],
        exception_handlers={Refused: _refused},
    )


async def _discover(request: Request) -> Response:
    parts = request.url.path.strip("/").split("/")
    if parts == ["version"]:
        return JSONResponse(VERSION)
    return JSONResponse(discovery.answer(parts))


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _review(request: Request) -> Response:
    answered = reviews.answer(request.path_params["plural"], await _json(request))
    if answered is None:
        raise refusals.WrongVerb("method_unknown", method=request.method)
    return JSONResponse(answered, 201)


async def _json(request: Request) -> object:
    try:
        return await request.json()
    except ValueError:
        return None


async def _describe(request: Request) -> Response:
    return JSONResponse(openapi.answer(request.path_params["path"]))


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(refusals.status(error), error.status)
