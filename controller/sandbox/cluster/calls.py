"""One request on a resource: what its path, query and body mean."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from starlette.requests import Request

from controller.core.errors import Invalid, NotFound, Refused
from controller.sandbox.cluster import paths, scales, selectors
from controller.sandbox.cluster.resources import Object
from controller.sandbox.cluster.store import Store

_TRUE = {"1", "true", "True"}
_BINARY = re.compile(r"protobuf|cbor")


class UnreadMedia(Refused):
    """Raised for a body in one of Kubernetes' binary encodings, which this API server does not read."""

    status = 415


class Call:
    """A request, read."""

    def __init__(self, store: Store, request: Request) -> None:
        self.store = store
        self.request = request
        self.target = paths.parse(request.url.path)

    @property
    def media(self) -> str:
        """The body's media type."""
        return self.request.headers.get("content-type", "").split(";")[0].strip()

    @property
    def manager(self) -> str:
        """Who sets fields: the given field manager, else the client's name."""
        agent = self.request.headers.get("user-agent", "").partition("/")[0]
        return self.query("fieldManager") or agent or "unknown"

    def query(self, name: str) -> str:
        """A parameter, empty if it is not given."""
        return self.request.query_params.get(name, "")

    def flag(self, name: str) -> bool:
        """Whether a parameter is given as true."""
        return self.query(name) in _TRUE

    def number(self, name: str) -> int | None:
        """A parameter that is a whole number.

        Raises Refused for any other text.
        """
        text = self.query(name)
        if text and not text.isdecimal():
            raise Refused("number_malformed", parameter=name)
        return int(text) if text else None

    def is_rehearsal(self, options: Any = None) -> bool:
        """Whether nothing may be stored.

        Raises Refused for a kind of dry run that Kubernetes does not have either.
        """
        asked = {self.query("dryRun")} if self.query("dryRun") else set()
        if isinstance(options, dict):
            asked |= set(options.get("dryRun") or [])
        if asked - {"All"}:
            raise Refused("dry_run_unknown", asked=",".join(sorted(map(str, asked)))[:40])
        return bool(asked)

    async def body(self) -> Any:
        """The body as JSON or YAML has it, None if there is none.

        Raises UnreadMedia for another media type, after which clients try JSON, and Refused if it cannot be read.
        """
        raw = await self.request.body()
        if raw and _BINARY.search(self.media):
            raise UnreadMedia("media_type_unknown", type=self.media[:80])
        reads = _read_yaml if "yaml" in self.media else json.loads
        try:
            return reads(raw) if raw else None
        except (ValueError, yaml.YAMLError, RecursionError) as exc:
            raise Refused("body_malformed") from exc

    def prepared(self, body: Any) -> Object:
        """The body as an object that agrees with the path.

        Raises Refused if it says something else than the path.
        """
        target = self.target
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

    def found(self) -> Object:
        """The object that the path names.

        Raises NotFound.
        """
        target = self.target
        found = self.store.get(target.kind, target.namespace, target.name or "")
        if found is None:
            raise NotFound("not_found", kind=_resource(self), name=target.name)
        return found

    def selector(self) -> selectors.Selector:
        """The predicate of the path's name and namespace and the query's selectors.

        Raises Invalid for a malformed one.
        """
        namespace, name = self.target.namespace, self.target.name
        labels = selectors.labels(self.query("labelSelector"))
        fields = selectors.fields(self.query("fieldSelector"))

        def selected(obj: Object) -> bool:
            meta = obj["metadata"]
            placed = namespace in (None, meta.get("namespace")) and name in (None, meta["name"])
            return placed and labels(obj) and fields(obj)

        return selected


def _resource(call: Call) -> str:
    kind = call.target.kind
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def _read_yaml(raw: bytes) -> Any:
    """YAML as JSON knows it: a date is text."""
    return json.loads(json.dumps(yaml.safe_load(raw), default=str))


def _agree(given: Object, path: Object) -> None:
    for key, value in path.items():
        if given.get(key) not in (None, "", value):
            raise Refused("disagrees_with_path", field=key, given=str(given[key])[:80], path=value)
