"""What a box may be made of: named rules over its rendered objects, beside what Kubernetes' own schemas say.

Pure. The cluster's admission policies say the same again; these say it before the commit, with a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from controller.domain.states import RUNNING, State
from controller.gitops import policy_network, policy_pods
from controller.gitops.objects import Box, Object, Rule, containers, mapping, maps, of_kind, pods, title

KINDS = {
    ("v1", "Namespace"), ("v1", "ServiceAccount"), ("v1", "PersistentVolumeClaim"), ("v1", "ResourceQuota"),
    ("v1", "LimitRange"), ("v1", "ConfigMap"), ("apps/v1", "Deployment"),
    ("networking.k8s.io/v1", "NetworkPolicy"), ("external-secrets.io/v1", "ExternalSecret"),
    ("snapshot.storage.k8s.io/v1", "VolumeSnapshot"),
}  # fmt: skip
"""No Secret, Role, Job, Service or Ingress among them: a box needs none."""

_SIZES = {"": 0, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_CLAIM = re.compile(r"data(-[1-9]\d*)?")
_DATA = ("volumeName", "dataSourceRef")
_SNAPSHOT = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot"}
_NOTHING = ("services", "services.loadbalancers", "services.nodeports", "count/jobs.batch", "count/cronjobs.batch")


@dataclass(frozen=True)
class Breach:
    """One way in which the objects break one rule."""

    rule: str
    sentence: str


def check(objects: list[Object], box: Box) -> list[Breach]:
    """Each breach of each rule; none for what a box may be."""
    return [Breach(rule, sentence) for rule, judge in RULES.items() for sentence in judge(objects, box)]


def _kinds(objects: list[Object], _: Box) -> Iterator[str]:
    for obj in objects:
        if (obj.get("apiVersion"), obj.get("kind")) not in KINDS:
            yield f"{title(obj)} is of a kind that no box has: {obj.get('apiVersion')} {obj.get('kind')}"


def _namespaces(objects: list[Object], box: Box) -> Iterator[str]:
    for obj in objects:
        meta = mapping(obj, "metadata")
        where = meta.get("name") if obj.get("kind") == "Namespace" else meta.get("namespace")
        if where != box.namespace:
            yield f"{title(obj)} is in namespace {where}, not in the box's own, {box.namespace}"


def _labels(objects: list[Object], box: Box) -> Iterator[str]:
    for obj in objects:
        if mapping(obj, "metadata", "labels").get("openclaw.cloud/box") != box.id:
            yield f"{title(obj)} lacks the label openclaw.cloud/box: {box.id}"


def _destroyed(objects: list[Object], box: Box) -> Iterator[str]:
    if box.state == State.DESTROYED and objects:
        yield f"a destroyed box has no objects, but {', '.join(map(title, objects))} is rendered"


def _pod_security(objects: list[Object], box: Box) -> Iterator[str]:
    if box.state != State.DESTROYED and not of_kind(objects, "Namespace"):
        yield f"there is no Namespace {box.namespace}"
    for obj in of_kind(objects, "Namespace"):
        for mode in ("enforce", "audit", "warn"):
            key = f"pod-security.kubernetes.io/{mode}"
            labels = mapping(obj, "metadata", "labels")
            version = str(labels.get(f"{key}-version"))
            if labels.get(key) != "restricted" or not re.fullmatch(r"v1\.\d+", version):
                yield f"{title(obj)} must set {key} to restricted, at a pinned version"


def _account_token(objects: list[Object], _: Box) -> Iterator[str]:
    for obj in of_kind(objects, "ServiceAccount"):
        if obj.get("automountServiceAccountToken") is not False:
            yield f"{title(obj)} lacks automountServiceAccountToken: false"


def _own_secret(objects: list[Object], box: Box) -> Iterator[str]:
    key = re.compile(rf"boxes/{box.id}/agent/[1-9][0-9]*")
    for obj in of_kind(objects, "ExternalSecret"):
        spec = mapping(obj, "spec")
        keys = [str(mapping(entry, "remoteRef").get("key")) for entry in maps(spec, "data")]
        if mapping(spec, "secretStoreRef") != {"kind": "ClusterSecretStore", "name": "platform"}:
            yield f"{title(obj)} reads another store than the platform's"
        if spec.get("dataFrom") or not keys or not all(key.fullmatch(asked) for asked in keys):
            yield f"{title(obj)} asks for more than the box's own agent token"


def _one_replica(objects: list[Object], box: Box) -> Iterator[str]:
    for obj in of_kind(objects, "Deployment"):
        most = 1 if box.state in RUNNING else 0
        asked = mapping(obj, "spec").get("replicas")
        if not isinstance(asked, int) or not 0 <= asked <= most:
            yield f"{title(obj)} asks for {asked} replicas; a box that is {box.state} has {most}"
    if len(of_kind(objects, "Deployment")) > 1:
        yield "a box has one Deployment, never more"


def _recreate(objects: list[Object], _: Box) -> Iterator[str]:
    for obj in of_kind(objects, "Deployment"):
        if mapping(obj, "spec").get("strategy") != {"type": "Recreate"}:
            yield f"{title(obj)} must have the strategy Recreate: two pods on one bot token take each other's messages"


def _one_pod_volume(objects: list[Object], _: Box) -> Iterator[str]:
    for obj in of_kind(objects, "PersistentVolumeClaim"):
        if mapping(obj, "spec").get("accessModes") != ["ReadWriteOncePod"]:
            yield f"{title(obj)} must have the access mode ReadWriteOncePod"


def _volume_kept(objects: list[Object], _: Box) -> Iterator[str]:
    claims = of_kind(objects, "PersistentVolumeClaim")
    spare = claims[0] if len(claims) == 1 else None
    for obj in claims:
        used = obj is spare or mapping(obj, "metadata").get("name") in _mounted(objects)
        kept = mapping(obj, "metadata", "annotations").get("argocd.argoproj.io/sync-options") == "Prune=false"
        if used and not kept:
            yield f"{title(obj)} lacks the sync option Prune=false, so a faulty render could delete a customer's data"
        if kept and not used:
            yield f"{title(obj)} is in no pod and has the sync option Prune=false, so nobody could ever give it up"
    if len(claims) > 2:
        yield "a box has two volumes, the one in use and the one before it, never more"


def _mounted(objects: list[Object]) -> set[object]:
    """The names of the claims that pods have."""
    volumes = [volume for _, spec in pods(objects) for volume in maps(spec, "volumes")]
    return {mapping(volume, "persistentVolumeClaim").get("claimName") for volume in volumes} - {None}


def _snapshot(objects: list[Object], _: Box) -> Iterator[str]:
    taken = of_kind(objects, "VolumeSnapshot")
    if len(taken) > 1:
        yield "a box keeps one VolumeSnapshot, never more"
    for obj in taken:
        source = dict(mapping(obj, "spec", "source"))
        if not _CLAIM.fullmatch(str(source.pop("persistentVolumeClaimName", ""))) or source:
            yield f"{title(obj)} is of something else than the box's volume"
        if _wave(obj) >= min(map(_wave, of_kind(objects, "Deployment")), default=0):
            yield f"{title(obj)} is not taken before the Deployment changes"


def _wave(obj: Object) -> int:
    given = str(mapping(obj, "metadata", "annotations").get("argocd.argoproj.io/sync-wave", "0"))
    return int(given) if re.fullmatch(r"-?\d{1,5}", given) else 0


def _hooks(objects: list[Object], _: Box) -> Iterator[str]:
    for obj in objects:
        for key in mapping(obj, "metadata", "annotations"):
            if str(key).startswith(("argocd.argoproj.io/hook", "helm.sh/hook")):
                yield f"{title(obj)} is a hook, which runs outside of what Argo CD compares"


def _own_volume(objects: list[Object], _: Box) -> Iterator[str]:
    claims = of_kind(objects, "PersistentVolumeClaim")
    for obj in claims:
        if taken := [name for name in _DATA if mapping(obj, "spec").get(name)]:
            yield f"{title(obj)} takes data that are there already: {', '.join(taken)}"
        source = dict(mapping(obj, "spec", "dataSource"))
        source.pop("name", None)
        if source not in ({}, _SNAPSHOT):
            yield f"{title(obj)} is made from something else than a snapshot in the box's namespace"
    own = {mapping(obj, "metadata").get("name") for obj in claims}
    if strange := _mounted(objects) - own:
        yield f"a pod mounts a claim that is not the box's: {', '.join(sorted(map(str, strange)))}"


def _owners(objects: list[Object], _: Box) -> Iterator[str]:
    for obj in objects:
        if given := [name for name in ("finalizers", "ownerReferences") if mapping(obj, "metadata").get(name)]:
            yield f"{title(obj)} has {' and '.join(given)}: somebody else would decide when it goes"


def _quota(objects: list[Object], box: Box) -> Iterator[str]:
    if box.state == State.DESTROYED:
        return
    quotas = of_kind(objects, "ResourceQuota")
    if len(quotas) != 1:
        yield f"{box.namespace} must have exactly one ResourceQuota"
    for obj in quotas:
        hard = mapping(obj, "spec", "hard")
        wanted = {"pods": "1", "persistentvolumeclaims": "2"} | dict.fromkeys(_NOTHING, "0")
        if wrong := [name for name, value in wanted.items() if str(hard.get(name)) != value]:
            yield f"{title(obj)} must allow one pod, its volume, the one before it and nothing else: {', '.join(wrong)}"
        if mapping(obj, "spec").get("scopes") or mapping(obj, "spec").get("scopeSelector"):
            yield f"{title(obj)} binds only some pods"


def _quota_fits(objects: list[Object], _: Box) -> Iterator[str]:
    asked = {
        f"{side}.{name}": value
        for _title, container in containers(objects)
        for side in ("requests", "limits")
        for name, value in mapping(container, "resources", side).items()
    }
    volumes = [
        _amount(mapping(claim, "spec", "resources", "requests").get("storage"))
        for claim in of_kind(objects, "PersistentVolumeClaim")
    ]
    for obj in of_kind(objects, "ResourceQuota"):
        hard = mapping(obj, "spec", "hard")
        wrong = [name for name, value in asked.items() if not _same(value, hard.get(name))]
        # Not exactly its size: the quota of before would refuse a volume that grows, and the sync never began.
        room = _amount(hard.get("requests.storage"))
        if room is None or None in volumes or sum(filter(None, volumes)) > room:
            wrong.append("requests.storage")
        if wrong:
            yield f"{title(obj)} must have room for exactly what the box asks for: {', '.join(wrong)}"


def _limit_range(objects: list[Object], box: Box) -> Iterator[str]:
    if box.state == State.DESTROYED:
        return
    limits = [entry for obj in of_kind(objects, "LimitRange") for entry in maps(obj, "spec", "limits")]
    found = {entry.get("type"): set(mapping(entry, "max")) for entry in limits}
    if not found.get("Container", set()) >= {"cpu", "memory"} or "storage" not in found.get(
        "PersistentVolumeClaim", set()
    ):
        yield f"{box.namespace} must have a LimitRange with a maximum for containers and for volumes"


def _same(one: object, other: object) -> bool:
    first, second = _amount(one), _amount(other)
    return first is not None and first == second


def _amount(quantity: object) -> Decimal | None:
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        return None
    unit = match[2] or ""
    try:
        return Decimal(match[1]) * (2 ** _BINARY[unit] if unit in _BINARY else Decimal(10) ** _SIZES[unit])
    except InvalidOperation:
        return None


RULES: dict[str, Rule] = {
    "allowed-kinds": _kinds,
    "own-namespace": _namespaces,
    "box-label": _labels,
    "destroyed-is-empty": _destroyed,
    "pod-security": _pod_security,
    "account-token": _account_token,
    "own-secret": _own_secret,
    "one-replica": _one_replica,
    "recreate": _recreate,
    "one-pod-volume": _one_pod_volume,
    "volume-kept": _volume_kept,
    "own-volume": _own_volume,
    "no-owners": _owners,
    "snapshot": _snapshot,
    "no-hooks": _hooks,
    "quota": _quota,
    "quota-fits": _quota_fits,
    "limit-range": _limit_range,
    **policy_pods.RULES,
    **policy_network.RULES,
}
"""Every rule by its name, which each sentence about it carries."""
