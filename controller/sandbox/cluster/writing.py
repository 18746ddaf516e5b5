"""Requests that change something: create, replace, patch, apply and delete; or only rehearse it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from starlette.responses import JSONResponse, Response

from controller.core.errors import Conflict, Refused
from controller.sandbox.cluster import deletion, ownership, patches, refusals, scales, schemas
from controller.sandbox.cluster.calls import Call
from controller.sandbox.cluster.resources import PVC, RESOURCE_QUOTA, SERVICE, SERVICE_ACCOUNT, Kind, Object

# Their deletion answers with the object even when it is gone; all others then answer with a Status.
_RETURNED = (PVC, RESOURCE_QUOTA, SERVICE, SERVICE_ACCOUNT)


async def answer(call: Call) -> Response:
    """Do what the request asks; with ``dryRun=All`` all of it except storing.

    Raises Refused.
    """
    method, body, target = call.request.method, await call.body(), call.target
    verbs = {"PUT": _put, "PATCH": _patch}
    if target.name is None:
        verbs = {"POST": _post}
    if target.sub is None:
        verbs["DELETE"] = _delete
    if method not in verbs:
        raise refusals.WrongVerb("method_unknown", method=method)
    warnings = await _validated(call, body)
    # from here on nothing waits, so that reading and writing are one step
    with call.store.rehearsal() if call.is_rehearsal(body if method == "DELETE" else None) else nullcontext():
        answered = verbs[method](call, body)
    for warning in warnings:
        answered.headers.append("Warning", f'299 - "{warning.replace(chr(34), chr(39))}"')
    return answered


async def _validated(call: Call, body: Any) -> list[str]:
    """What is wrong with the fields of an object or a patch in the form of one; JSON patches are not looked at."""
    whole = call.request.method in {"POST", "PUT"} or call.media in (*patches.APPLY, patches.STRATEGIC, patches.MERGE)
    if not whole or call.target.sub is not None or not isinstance(body, dict):
        return []
    return await schemas.check(call.target.kind, body, call.query("fieldValidation"))


def _post(call: Call, body: Any) -> Response:
    obj = call.prepared(body)
    if call.target.kind.has_status:
        obj.pop("status", None)
    return JSONResponse(call.store.create(ownership.updated(None, obj, call.manager)), 201)


def _put(call: Call, body: Any) -> Response:
    return JSONResponse(_replace(call, call.prepared(body)))


def _replace(call: Call, obj: Object) -> Object:
    target, store, old = call.target, call.store, call.found()
    if obj["metadata"].get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
        raise Conflict("stale", kind=target.kind.plural, name=target.name)
    if target.sub == "scale":
        made = scales.scaled(old, obj)
        return scales.of(store.update(ownership.updated(old, made, call.manager)))
    if target.sub is None:
        obj["metadata"].setdefault("managedFields", old["metadata"].get("managedFields"))
        return store.update(ownership.updated(old, obj, call.manager))
    return _store_status(
        call, ownership.updated(old, {**old, "status": obj.get("status") or {}}, call.manager, "status")
    )


def _store_status(call: Call, made: Object) -> Object:
    target, store = call.target, call.store
    store.mark(call.found(), managedFields=made["metadata"].get("managedFields"))
    store.update_status(target.kind, target.namespace, target.name or "", made.get("status") or {})
    return call.found()


def _patch(call: Call, patch: Any) -> Response:
    target = call.target
    if call.media in patches.APPLY:
        return _apply(call, call.prepared(patch))
    if call.media == patches.STRATEGIC and target.kind.custom:
        raise patches.UnknownPatch("patch_type_unknown", type=call.media, kind=target.kind.kind)
    old = call.found()
    made = patches.apply(call.media, scales.of(old) if target.sub == "scale" else old, patch)
    return JSONResponse(_replace(call, call.prepared(made)))


def _apply(call: Call, wanted: Object) -> Response:
    target, store = call.target, call.store
    if not call.query("fieldManager"):
        raise Refused("field_manager_missing", sentence="fieldManager is required for apply patch")
    if wanted["metadata"].get("managedFields"):
        raise Refused("managed_fields_given", sentence="metadata.managedFields must be nil")
    live = store.get(target.kind, target.namespace, target.name or "")
    force = call.flag("force")
    if live is None:
        if target.sub is not None:
            call.found()
        empty = {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": {}}
        return JSONResponse(store.create(ownership.applied(empty, wanted, call.manager, force=force)), 201)
    if wanted["metadata"].get("resourceVersion") not in (None, live["metadata"]["resourceVersion"]):
        raise Conflict("stale", kind=target.kind.plural, name=target.name)
    if target.sub == "scale":
        made = ownership.applied(live, {**wanted, **_type(live)}, call.manager, force=force)
        return JSONResponse(scales.of(store.update(made)))
    made = ownership.applied(live, wanted, call.manager, force=force, sub=target.sub)
    return JSONResponse(store.update(made) if target.sub is None else _store_status(call, made))


def _type(obj: Object) -> Object:
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"]}


def _delete(call: Call, options: Any) -> Response:
    options = options if isinstance(options, dict) else {}
    asked = call.number("gracePeriodSeconds")
    grace = options.get("gracePeriodSeconds") if asked is None else asked
    policy = call.query("propagationPolicy") or options.get("propagationPolicy") or deletion.BACKGROUND
    if policy not in deletion.POLICIES:
        raise Refused("propagation_policy_unknown", policy=str(policy)[:40])
    if call.target.name is None:
        found = list(filter(call.selector(), call.store.list(call.target.kind, call.target.namespace)))
    else:
        found = [call.found()]
    for obj in found:
        _check_preconditions(obj, options.get("preconditions") or {})
    left = [_delete_one(call, obj, grace, policy) for obj in found]
    if call.target.name is not None:
        return JSONResponse(left[0])
    kind, meta = call.target.kind, {"resourceVersion": str(call.store.version)}
    return JSONResponse({"apiVersion": kind.api_version, "kind": f"{kind.kind}List", "metadata": meta, "items": left})


def _delete_one(call: Call, obj: Object, grace_seconds: int | None, policy: str) -> Object:
    kind, meta = call.target.kind, obj["metadata"]
    place = kind, meta.get("namespace"), meta["name"]
    call.store.delete(*place, grace_seconds=grace_seconds, propagation=policy)
    left = call.store.get(*place)
    if left is not None or kind in _RETURNED or call.target.name is None:
        return left or obj
    return _deleted(kind, obj)


def _deleted(kind: Kind, obj: Object) -> Object:
    details = {"name": obj["metadata"]["name"], "group": kind.group, "kind": kind.plural, "uid": obj["metadata"]["uid"]}
    return {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "details": details}


def _check_preconditions(obj: Object, wanted: Object) -> None:
    for key in ("uid", "resourceVersion"):
        if wanted.get(key) not in (None, obj["metadata"][key]):
            raise Conflict("precondition_failed", name=obj["metadata"]["name"], field=key)
