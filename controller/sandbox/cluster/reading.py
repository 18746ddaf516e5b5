"""Requests that only look: one object, a list or its pages, a watch, a pod's log; as objects or as tables."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from starlette.responses import JSONResponse, Response, StreamingResponse

from controller.core.errors import Refused
from controller.sandbox.cluster import logs, scales, tables, watches
from controller.sandbox.cluster.calls import Call
from controller.sandbox.cluster.resources import CRD, Object

TABLE = "as=Table"


class TooNew(Refused):
    """Raised when a version is asked for that this cluster has not reached."""

    status = 504


def answer(call: Call, folder: logs.Folder) -> Response:
    """What the request asks to see.

    Raises Refused.
    """
    target = call.target
    if target.sub == "log":
        return logs.answer(call, folder)
    if target.name is None and call.flag("watch"):
        return StreamingResponse(watches.stream(call.store, _wanted(call)), media_type="application/json")
    if target.name is None:
        return JSONResponse(_listed(call))
    obj = call.found()
    if target.sub == "scale":
        return JSONResponse(scales.of(obj))
    return JSONResponse(_shown(call)(obj))


def _shown(call: Call) -> Callable[[Object], Object]:
    """How one object is shown: as it is, or as a table of one row."""
    if not _as_table(call):
        return lambda obj: obj
    return lambda obj: _table(call, [obj], {"resourceVersion": obj["metadata"]["resourceVersion"]})


def _as_table(call: Call) -> bool:
    return TABLE in call.request.headers.get("accept", "").split(",")[0]


def _table(call: Call, objects: list[Object], meta: Object) -> Object:
    kind, include = call.target.kind, call.query("includeObject") or "Metadata"
    definition = call.store.get(CRD, None, f"{kind.plural}.{kind.group}") if kind.custom else None
    return tables.table(kind, objects, meta, include, definition)


def _listed(call: Call) -> Object:
    kind, limit = call.target.kind, call.number("limit") or 0
    version, after = _from(call)
    items = list(filter(call.selector(), call.store.list(kind, call.target.namespace, at=version)))
    if after is not None:
        items = [obj for obj in items if _place(obj) > after]
    meta: Object = {"resourceVersion": str(version)}
    if limit and len(items) > limit:
        meta["continue"] = _token(version, items[limit - 1])
        if not (call.query("labelSelector") or call.query("fieldSelector")):
            meta["remainingItemCount"] = len(items) - limit
        items = items[:limit]
    if _as_table(call):
        return _table(call, items, meta)
    return {"apiVersion": kind.api_version, "kind": f"{kind.kind}List", "metadata": meta, "items": items}


def _from(call: Call) -> tuple[int, tuple[str, str] | None]:
    """The version that a list is of, and after which object it begins.

    Raises Gone for a version that is no longer kept, TooNew for one that is not there yet, Refused for nonsense.
    """
    given, match, newest = call.number("resourceVersion"), call.query("resourceVersionMatch"), call.store.version
    if match and (given is None or call.query("continue") or match not in {"Exact", "NotOlderThan"}):
        raise Refused("resource_version_match_unfit", given=match[:40])
    if call.query("continue"):
        version, *after = _read_token(call.query("continue"))
        return int(version), (after[0], after[1])
    if given and given > newest:
        raise TooNew("resource_version_too_new", given=given, newest=newest)
    if match == "Exact" or (given and call.number("limit") and match != "NotOlderThan"):
        if not given:
            raise Refused("resource_version_match_unfit", given=match[:40])
        return given, None
    return newest, None


def _place(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _token(version: int, last: Object) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, *_place(last)]).encode()).decode()


def _read_token(token: str) -> tuple[int, str, str]:
    try:
        version, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return int(version), str(namespace), str(name)
    except (ValueError, TypeError) as exc:
        raise Refused("continue_malformed") from exc


def _wanted(call: Call) -> watches.Wanted:
    seconds, since = call.number("timeoutSeconds"), call.number("resourceVersion")
    initial, match = call.flag("sendInitialEvents"), call.query("resourceVersionMatch")
    if initial != (match == "NotOlderThan") or match not in {"", "NotOlderThan"}:
        raise Refused("resource_version_match_unfit", given=match[:40])
    return watches.Wanted(
        call.target.kind,
        call.selector(),
        None if initial else since or None,
        watches.LONGEST_SECONDS if seconds is None else seconds,
        call.flag("allowWatchBookmarks"),
        initial=initial,
        show=_shown(call),
    )
