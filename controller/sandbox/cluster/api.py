"""The Kubernetes API over the store, as far as the official client needs it here.

Not here: who may do what, schemas, field ownership, dry runs (refused), pages of lists (all is one page).
"""

from __future__ import annotations

import json
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from controller.core.errors import Conflict, Invalid, NotFound, Refused
from controller.sandbox.cluster import discovery, patches, paths, refusals, scales, selectors, watches
from controller.sandbox.cluster.resources import PVC, RESOURCE_QUOTA, SERVICE, SERVICE_ACCOUNT, Kind, Object
from controller.sandbox.cluster.store import Store

# The client insists on every field; what a stand-in has no honest value for is empty.
VERSION = {"major": "1", "minor": "37", "gitVersion": "v1.37.0-sandbox"} | dict.fromkeys(
    ("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), ""
)
_DISCOVERY = ("/version", "/api", "/api/v1", "/apis", "/apis/{group}", "/apis/{group}/{version}")
# Their deletion answers with the object even when it is gone; all others then answer with a Status.
_RETURNED = (PVC, RESOURCE_QUOTA, SERVICE, SERVICE_ACCOUNT)
_TRUE = {"1", "true", "True"}


def app(store: Store) -> Starlette:
    """The API server over ``store``; it must be served on the event loop that uses the store."""

    async def serve(request: Request) -> Response:
        return await _Call(store, request).answer()

    return Starlette(
        routes=[
            *(Route(path + end, _discover) for path in _DISCOVERY for end in ("", "/")),
            Route("/{path:path}", serve, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ],
        exception_handlers={Refused: _refused},
    )


async def _discover(request: Request) -> Response:
    parts = request.url.path.strip("/").split("/")
    if parts == ["version"]:
        return JSONResponse(VERSION)
    return JSONResponse(discovery.answer(parts))


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(refusals.status(error), error.status)


class _Call:
    """One request on a resource."""

    def __init__(self, store: Store, request: Request) -> None:
        self._store = store
        self._request = request
        self._target = paths.parse(request.url.path)

    async def answer(self) -> Response:
        method, target = self._request.method, self._target
        if method != "GET" and self._query("dryRun"):
            raise Refused("dry_run_unsupported")
        if method == "DELETE" and target.sub is None:
            return self._delete(await self._body())
        if target.name is None:
            return await self._answer_collection()
        if method == "GET":
            return JSONResponse(self._shown(self._found()))
        if method == "PUT":
            return JSONResponse(self._replace(self._prepared(await self._body())))
        if method == "PATCH":
            return self._patch(await self._body())
        raise refusals.WrongVerb("method_unknown", method=method)

    async def _answer_collection(self) -> Response:
        if self._request.method == "POST":
            obj = self._prepared(await self._body())
            obj.pop("status", None)
            return JSONResponse(self._store.create(obj), 201)
        if self._request.method != "GET":
            raise refusals.WrongVerb("method_unknown", method=self._request.method)
        if self._query("watch") in _TRUE:
            return StreamingResponse(watches.stream(self._store, self._wanted()), media_type="application/json")
        return JSONResponse(self._listed(self._items()))

    def _query(self, name: str) -> str:
        return self._request.query_params.get(name, "")

    def _number(self, name: str) -> int | None:
        text = self._query(name)
        if text and not text.isdecimal():
            raise Refused("number_malformed", parameter=name)
        return int(text) if text else None

    async def _body(self) -> Any:
        raw = await self._request.body()
        reads = _read_yaml if "yaml" in self._request.headers.get("content-type", "") else json.loads
        try:
            return reads(raw) if raw else None
        except (ValueError, yaml.YAMLError) as exc:
            raise Refused("body_malformed") from exc

    def _prepared(self, body: Any) -> Object:
        """The body as an object that agrees with the path.

        Raises Refused if it says something else than the path.
        """
        target = self._target
        if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
            raise Invalid("object_malformed")
        says = {"apiVersion": target.kind.api_version, "kind": target.kind.kind}
        if target.sub == "scale":
            says = scales.TYPE
        meta = {"name": target.name, "namespace": target.namespace}
        meta = {key: value for key, value in meta.items() if value is not None}
        _agree(body, says)
        _agree(body.get("metadata", {}), meta)
        return {**body, **says, "metadata": {**body.get("metadata", {}), **meta}}

    def _found(self) -> Object:
        target = self._target
        found = self._store.get(target.kind, target.namespace, target.name or "")
        if found is None:
            raise NotFound("not_found", kind=target.kind.plural, name=target.name)
        return found

    def _shown(self, obj: Object) -> Object:
        return scales.of(obj) if self._target.sub == "scale" else obj

    def _selector(self) -> selectors.Selector:
        namespace = self._target.namespace
        labels = selectors.labels(self._query("labelSelector"))
        fields = selectors.fields(self._query("fieldSelector"))
        return lambda obj: namespace in (None, obj["metadata"].get("namespace")) and labels(obj) and fields(obj)

    def _items(self) -> list[Object]:
        return list(filter(self._selector(), self._store.list(self._target.kind, self._target.namespace)))

    def _listed(self, items: list[Object]) -> Object:
        kind = self._target.kind
        meta = {"resourceVersion": str(self._store.version)}
        return {"apiVersion": kind.api_version, "kind": f"{kind.kind}List", "metadata": meta, "items": items}

    def _wanted(self) -> watches.Wanted:
        seconds = self._number("timeoutSeconds")
        return watches.Wanted(
            self._target.kind,
            self._selector(),
            self._number("resourceVersion") or None,
            watches.LONGEST_SECONDS if seconds is None else seconds,
            self._query("allowWatchBookmarks") in _TRUE,
        )

    def _replace(self, obj: Object) -> Object:
        target = self._target
        if target.sub is None:
            return self._store.update(obj)
        old = self._found()
        if obj["metadata"].get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
            raise Conflict("stale", name=target.name)
        if target.sub == "scale":
            return scales.of(self._store.update(scales.scaled(old, obj)))
        self._store.update_status(target.kind, target.namespace, target.name or "", obj.get("status") or {})
        return self._found()

    def _patch(self, patch: Any) -> Response:
        media = self._request.headers.get("content-type", "").split(";")[0].strip()
        target = self._target
        if media == patches.STRATEGIC and target.kind.custom:
            raise patches.UnknownPatch("patch_type_unknown", type=media, kind=target.kind.kind)
        known = self._store.get(target.kind, target.namespace, target.name or "")
        if known is None and media in patches.APPLY and target.sub is None:
            return JSONResponse(self._store.create(self._prepared(patch)), 201)
        made = patches.apply(media, self._shown(self._found()), patch)
        return JSONResponse(self._replace(self._prepared(made)))

    def _delete(self, options: Any) -> Response:
        options = options if isinstance(options, dict) else {}
        if options.get("dryRun"):
            raise Refused("dry_run_unsupported")
        asked = self._number("gracePeriodSeconds")
        grace = options.get("gracePeriodSeconds") if asked is None else asked
        found = self._items() if self._target.name is None else [self._found()]
        for obj in found:
            _check_preconditions(obj, options.get("preconditions") or {})
        left = [self._delete_one(obj, grace) for obj in found]
        return JSONResponse(self._listed(left) if self._target.name is None else left[0])

    def _delete_one(self, obj: Object, grace_seconds: int | None) -> Object:
        kind, meta = self._target.kind, obj["metadata"]
        place = kind, meta.get("namespace"), meta["name"]
        self._store.delete(*place, grace_seconds=grace_seconds)
        left = self._store.get(*place)
        if left is not None or kind in _RETURNED or self._target.name is None:
            return left or obj
        return _deleted(kind, obj)


def _read_yaml(raw: bytes) -> Any:
    """YAML as JSON knows it: a date is text."""
    return json.loads(json.dumps(yaml.safe_load(raw), default=str))


def _deleted(kind: Kind, obj: Object) -> Object:
    details = {"name": obj["metadata"]["name"], "kind": kind.plural, "uid": obj["metadata"]["uid"]}
    return {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "details": details}


def _agree(given: Object, path: Object) -> None:
    for key, value in path.items():
        if given.get(key) not in (None, "", value):
            raise Refused("disagrees_with_path", field=key, given=str(given[key])[:80], path=value)


def _check_preconditions(obj: Object, wanted: Object) -> None:
    for key in ("uid", "resourceVersion"):
        if wanted.get(key) not in (None, obj["metadata"][key]):
            raise Conflict("precondition_failed", name=obj["metadata"]["name"], field=key)
