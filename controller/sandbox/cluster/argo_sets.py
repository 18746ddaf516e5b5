"""Argo CD's ApplicationSet controller: files at ``main`` become Applications; a missing file deletes nothing."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from controller.core import log as logs
from controller.core.errors import CloudError, Invalid
from controller.sandbox.cluster.checkout import Checkout
from controller.sandbox.cluster.resources import APPLICATION, APPLICATION_SET, NAMESPACE, Object
from controller.sandbox.cluster.store import Store, Watcher

log = logs.get(__name__)

ARGO = "argocd"
REFRESH = "argocd.argoproj.io/application-set-refresh"
RETRY_SECONDS = 5.0
"""How soon a set whose reconcile failed looks again; Argo CD's work queue would back off to about as much."""
_ARGOS_OWN = ("argocd.argoproj.io/refresh", "argocd.argoproj.io/hydrate", "notified.notifications.argoproj.io")
"""Annotations that every ApplicationSet keeps."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,57}[a-z0-9])?")
_KEYS = ("apiVersion", "kind", "metadata", "spec", "overrides")


class Sets:
    """The 16 ApplicationSets of one cell."""

    def __init__(
        self, store: Store, checkout: Checkout, cell_values: Object, sets: Sequence[Object], poll_seconds: float
    ) -> None:
        """``sets`` are the ApplicationSets of ``argocd/cell``, rendered with these ``cell_values``."""
        self._store = store
        self._checkout = checkout
        self._cell = str(cell_values["name"])
        self._values = cell_values
        self._sets = sets
        self._poll = poll_seconds
        self._asked: asyncio.Queue[str] = asyncio.Queue()
        self._seen: dict[str, str] = {}
        self._digits = {f"boxes-{digit}": digit for digit in "0123456789abcdef"}

    async def run(self) -> None:
        """Reconcile a set when its annotation asks for it, and all of them at the polling interval."""
        self._ensure()
        changes = self._store.watch(APPLICATION_SET)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(changes))
            tasks.create_task(self._tick())
            while True:
                names = {await self._asked.get()}
                while not self._asked.empty():
                    names.add(self._asked.get_nowait())
                await self._reconcile(sorted(names & self._digits.keys()))

    def _ensure(self) -> None:
        if self._store.get(NAMESPACE, None, ARGO) is None:
            meta = {"name": ARGO}
            self._store.create(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": meta, "status": {"phase": "Active"}}
            )
        for made in self._sets:
            found = self._store.get(APPLICATION_SET, ARGO, made["metadata"]["name"])
            if found is None:
                self._store.create(copy.deepcopy(made))
            elif found["spec"] != made["spec"]:
                self._store.update({**found, "spec": copy.deepcopy(made["spec"])})

    async def _listen(self, changes: Watcher) -> None:
        """A new value of the annotation asks; one that is still there after an error asks no more.

        One that comes while its set is reconciled asks for another turn, though that turn finds it taken away. Argo
        CD itself may answer it from its cache of refs, so a writer annotates until the Applications carry the rev.
        """
        async for event in changes:
            name = event.object["metadata"]["name"]
            value = event.object["metadata"].get("annotations", {}).get(REFRESH)
            if event.type == "DELETED" or value is None:
                self._seen.pop(name, None)
            elif self._seen.get(name) != value:
                self._seen[name] = value
                self._asked.put_nowait(name)

    async def _tick(self) -> None:
        while True:
            for name in self._digits:
                self._asked.put_nowait(name)
            await asyncio.sleep(self._poll)

    async def _reconcile(self, names: Sequence[str]) -> None:
        """One look at Git for all sets that asked, however many they are."""
        folder = f"cells/{self._cell}/boxes"
        try:
            sha = await self._checkout.fetch()
            files = await self._checkout.files(sha, folder, [self._digits[name] for name in names])
        except CloudError as error:
            for name in names:
                self._failed(name, error)
            return
        for name in names:
            start = f"{folder}/{self._digits[name]}"
            self._generate(name, {path: content for path, content in files.items() if path.startswith(start)})

    def _generate(self, name: str, files: Mapping[str, bytes]) -> None:
        try:
            for application in [self._application(_parse(path, content)) for path, content in files.items()]:
                self._put(application)
        except CloudError as error:
            # As in Argo CD, one bad file stops its whole set.
            self._failed(name, error)
            return
        self._report(name, "False", "")
        self._consume(name)

    def _failed(self, name: str, error: CloudError) -> None:
        self._report(name, "True", str(error))
        log.warning("argo.set_failed", set_name=name, error=str(error))
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._asked.put_nowait, name)

    def _consume(self, name: str) -> None:
        """Take the annotation away, whichever value it has by now."""
        found = self._store.get(APPLICATION_SET, ARGO, name)
        if found is not None and REFRESH in found["metadata"].get("annotations", {}):
            del found["metadata"]["annotations"][REFRESH]
            self._store.update(found)

    def _report(self, name: str, status: str, message: str) -> None:
        condition = {"type": "ErrorOccurred", "status": status, "message": message}
        self._store.update_status(APPLICATION_SET, ARGO, name, {"conditions": [condition]})

    def _put(self, application: Object) -> None:
        found = self._store.get(APPLICATION, ARGO, application["metadata"]["name"])
        if found is None:
            self._store.create(application)
            return
        for part in ("labels", "annotations"):
            kept = {name: value for name, value in found["metadata"].get(part, {}).items() if name in self._kept(part)}
            found["metadata"][part] = {**application["metadata"][part], **kept}
        found["spec"] = application["spec"]
        self._store.update(found)

    def _kept(self, part: str) -> set[str]:
        """Names that the set leaves as they are; all others that the template does not have are taken away."""
        asked = self._sets[0]["spec"].get("preservedFields", {}).get(part, [])
        return {*asked, *(_ARGOS_OWN if part == "annotations" else ())}

    def _application(self, box: Object) -> Object:
        """What Argo CD makes of a box by template and ``templatePatch``, which are the same in all sets."""
        spec, name = box["spec"], box["metadata"]["id"]
        made: Object = copy.deepcopy(self._sets[0]["spec"]["template"])
        values = {key: box[key] for key in _KEYS}
        made["metadata"] = {
            "name": name,
            "namespace": ARGO,
            "labels": {"openclaw.cloud/state": spec["state"]},
            "annotations": {"openclaw.cloud/rev": str(int(spec["rev"]))},
        }
        made["spec"]["source"]["targetRevision"] = str(spec["release"])
        made["spec"]["source"]["helm"] = {"releaseName": "agent", "valuesObject": {**values, "cell": self._values}}
        made["spec"]["destination"]["namespace"] = f"box-{name}"
        made["spec"]["syncPolicy"]["automated"]["allowEmpty"] = spec["state"] == "destroyed"
        return {"apiVersion": APPLICATION.api_version, "kind": "Application", **made}


class _Yaml11(yaml.SafeLoader):
    """YAML 1.1 as Argo CD's parser reads it: ``no`` is false, ``1e3`` a number, and a date the text it is."""

    yaml_implicit_resolvers = {  # noqa: RUF012, the library's own way
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Yaml11.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def _parse(path: str, content: bytes) -> Any:
    """The box in a file, as JSON has it.

    Raises Invalid if it is not YAML, lacks a key that the template needs, or has no usable name.
    """
    try:
        box = json.loads(json.dumps(yaml.load(content, _Yaml11), allow_nan=False))  # noqa: S506, a SafeLoader
        missing = [key for key in _KEYS if key not in box]
        spec, name = box["spec"], box["metadata"]["id"]
        usable = {"state", "release", "rev"} <= spec.keys() and _NAME.fullmatch(name) and int(spec["rev"]) >= 0
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise Invalid("box_file_invalid", path=path, reason=type(exc).__name__) from exc
    if missing or not usable:
        raise Invalid("box_file_invalid", path=path, missing=",".join(missing))
    return box
