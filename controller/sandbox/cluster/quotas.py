"""ResourceQuota and LimitRange: what a namespace has room for, and what a container gets unasked."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from controller.core.errors import Invalid, NotAllowed
from controller.sandbox.cluster import resources
from controller.sandbox.cluster.resources import LIMIT_RANGE, POD, PVC, RESOURCE_QUOTA, SERVICE, Kind, Object

_UNITS = {
    "": Decimal(1), "m": Decimal("0.001"), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9),
    "T": Decimal(10**12), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
}  # fmt: skip
_COMPUTED = ("cpu", "memory", "ephemeral-storage")


class QuotaExceeded(NotAllowed):
    """Raised when a namespace's quota or limits have no room for an object."""

    status = 403


def quantity(text: object) -> Decimal:
    """A Kubernetes quantity (``500m``, ``2Gi``) as a number.

    Raises Invalid for anything else.
    """
    given = str(text)
    number = given.rstrip("KMGTkmi")
    try:
        return Decimal(number) * _UNITS[given[len(number) :]]
    except (InvalidOperation, KeyError) as exc:
        raise Invalid("quantity_malformed", given=given[:40]) from exc


def written(value: Decimal, like: str) -> str:
    """``value`` in the unit of ``like``, if that comes out even; else as a plain number."""
    unit = like[len(like.rstrip("KMGTkmi")) :]
    scaled = value / _UNITS.get(unit, Decimal(1))
    if scaled == scaled.to_integral_value():
        return f"{int(scaled)}{unit if scaled else ''}"
    return f"{(value * 1000).normalize():f}m"


def admitted(kind: Kind, obj: Object, siblings: Sequence[Object], old: Object | None = None) -> Object:
    """``obj`` with its namespace's defaults, once it is sure to fit; ``old`` is what it replaces.

    Raises QuotaExceeded, in the words of Kubernetes, and Invalid for a malformed quantity.
    """
    ranges = [one for one in siblings if resources.of(one) == LIMIT_RANGE]
    if kind == POD and old is None:
        obj = _defaulted(obj, ranges)
    if kind in (POD, PVC):
        _check_ranges(kind, obj, ranges)
    asks = usage(kind, obj)
    had = usage(kind, old) if old is not None else {}
    for quota in siblings:
        if resources.of(quota) == RESOURCE_QUOTA:
            _check_quota(kind, obj, quota, {name: asks[name] - had.get(name, Decimal(0)) for name in asks}, siblings)
    return obj


def used(quota: Object, siblings: Sequence[Object]) -> dict[str, str]:
    """What the quota's namespace uses of each thing that the quota limits."""
    hard: Mapping[str, str] = quota.get("spec", {}).get("hard") or {}
    sums = dict.fromkeys(hard, Decimal(0))
    for obj in siblings:
        for name, value in usage(resources.of(obj), obj).items():
            if name in sums:
                sums[name] += value
    return {name: written(value, str(hard[name])) for name, value in sums.items()}


def usage(kind: Kind, obj: Object) -> dict[str, Decimal]:
    """What one object counts towards a quota, by the quota's names."""
    counted = {f"count/{kind.plural}" + (f".{kind.group}" if kind.group else ""): Decimal(1)}
    spec = obj.get("spec") or {}
    if kind == POD:
        if obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
            return {}
        return counted | {"pods": Decimal(1)} | _of_containers(spec.get("containers") or [])
    if kind == PVC:
        asked = quantity(_storage(obj))
        return counted | {"persistentvolumeclaims": Decimal(1), "requests.storage": asked}
    if kind == SERVICE:
        balanced, node = spec.get("type") == "LoadBalancer", spec.get("type") in {"LoadBalancer", "NodePort"}
        ports = Decimal(len(spec.get("ports") or []))
        return counted | {
            "services": Decimal(1), "services.loadbalancers": Decimal(balanced),
            "services.nodeports": ports if node else Decimal(0),
        }  # fmt: skip
    plain = {RESOURCE_QUOTA.plural, "secrets", "configmaps"}
    return counted | ({kind.plural: Decimal(1)} if kind.plural in plain and not kind.group else {})


def _of_containers(containers: Sequence[Object]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for container in containers:
        for side in ("requests", "limits"):
            for name, value in ((container.get("resources") or {}).get(side) or {}).items():
                for full in [f"{side}.{name}", *([name] if side == "requests" else [])]:
                    sums[full] = sums.get(full, Decimal(0)) + quantity(value)
    return sums


def _check_quota(
    kind: Kind, obj: Object, quota: Object, asks: Mapping[str, Decimal], siblings: Sequence[Object]
) -> None:
    hard, meta = quota.get("spec", {}).get("hard") or {}, quota["metadata"]
    if kind == POD:
        missing = [name for name in hard if _computed(name) and name not in asks]
        if missing:
            raise _refused(kind, obj, f"failed quota: {meta['name']}: must specify {','.join(sorted(missing))}")
    has = used(quota, siblings)
    over = [name for name in hard if asks.get(name, 0) > 0 and quantity(has[name]) + asks[name] > quantity(hard[name])]
    if over:
        told = [("requested", {name: written(asks[name], str(hard[name])) for name in over}), ("used", has)]
        told.append(("limited", hard))
        parts = (f"{what}: " + ",".join(f"{name}={values[name]}" for name in sorted(over)) for what, values in told)
        raise _refused(kind, obj, f"exceeded quota: {meta['name']}, {', '.join(parts)}")


def _computed(name: str) -> bool:
    return name.removeprefix("requests.").removeprefix("limits.") in _COMPUTED


def _defaulted(pod: Object, ranges: Sequence[Object]) -> Object:
    """The pod's containers with the defaults of the ranges; a request that is missing is its limit."""
    made = copy.deepcopy(pod)
    for container in made.get("spec", {}).get("containers") or []:
        own = container.get("resources") or {}
        limits, requests = dict(own.get("limits") or {}), dict(own.get("requests") or {})
        for one in _limits(ranges, "Container"):
            requests = {**(one.get("defaultRequest") or {}), **limits, **requests} if not own else requests
            limits = {**(one.get("default") or {}), **limits}
        requests = {**limits, **requests}
        if limits or requests:
            container["resources"] = {**own, "limits": limits, "requests": requests}
    return made


def _check_ranges(kind: Kind, obj: Object, ranges: Sequence[Object]) -> None:
    if kind == PVC:
        asked = {"storage": _storage(obj)}
        for one in _limits(ranges, "PersistentVolumeClaim"):
            _check_bounds(kind, obj, one, asked, asked)
        return
    for container in obj.get("spec", {}).get("containers") or []:
        own = container.get("resources") or {}
        for one in _limits(ranges, "Container"):
            _check_bounds(kind, obj, one, own.get("requests") or {}, own.get("limits") or {})


def _check_bounds(kind: Kind, obj: Object, one: Object, least: Mapping[str, str], most: Mapping[str, str]) -> None:
    for name, bound in (one.get("max") or {}).items():
        if name not in most or quantity(most[name]) > quantity(bound):
            given = most.get(name, "no limit")
            raise _refused(kind, obj, f"maximum {name} usage per {one['type']} is {bound}, but limit is {given}")
    for name, bound in (one.get("min") or {}).items():
        if name not in least or quantity(least[name]) < quantity(bound):
            given = least.get(name, "no request")
            raise _refused(kind, obj, f"minimum {name} usage per {one['type']} is {bound}, but request is {given}")


def _limits(ranges: Sequence[Object], type_: str) -> list[Object]:
    return [one for found in ranges for one in found.get("spec", {}).get("limits") or [] if one.get("type") == type_]


def _storage(claim: Object) -> str:
    return str(((claim.get("spec") or {}).get("resources") or {}).get("requests", {}).get("storage", "0"))


def _refused(kind: Kind, obj: Object, why: str) -> QuotaExceeded:
    return QuotaExceeded("forbidden", sentence=f'{kind.plural} "{obj["metadata"]["name"]}" is forbidden: {why}')
