"""A pod's volumes as folders of the host: claims survive pods, ConfigMaps are written out, emptyDirs go."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from controller.core.errors import Permanent
from controller.sandbox.accounts import Account
from controller.sandbox.cluster.resources import CONFIG_MAP, PVC, Object
from controller.sandbox.cluster.store import Store


def awaits_data(claim: Object) -> bool:
    """Whether the claim is made from something that has not been copied into it yet."""
    return bool((claim.get("spec") or {}).get("dataSource")) and claim.get("status", {}).get("phase") != "Bound"


def bound(claim: Object) -> Object:
    """The claim's status once it has a volume, as large as it asks for."""
    spec, status = claim.get("spec") or {}, {"phase": "Bound"}
    if requests := spec.get("resources", {}).get("requests"):
        return status | {"capacity": requests, "accessModes": spec.get("accessModes") or []}
    return status


class Volumes:
    """Folders below one root, owned by the containers' account."""

    def __init__(self, store: Store, root: Path, account: Account | None) -> None:
        self._store = store
        self._root = root
        self._account = account

    def mount(self, pod: Object) -> dict[str, Path]:
        """The host's folder for each mount path of the pod's container, filled.

        Raises Permanent for a kind of volume that this node does not have, and for a claim that is not filled yet.
        """
        sources = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        container = pod["spec"]["containers"][0]
        return {
            mount["mountPath"]: self._folder(pod, sources[mount["name"]]) / mount.get("subPath", "")
            for mount in container.get("volumeMounts", [])
        }

    def release(self, pod: Object) -> None:
        """Remove what lives and dies with the pod."""
        shutil.rmtree(self._of_pod(pod), ignore_errors=True)

    def forget(self, claim: Object) -> None:
        """Remove a deleted claim's data."""
        meta = claim["metadata"]
        shutil.rmtree(self._root / "claims" / meta["namespace"] / meta["name"], ignore_errors=True)

    def _folder(self, pod: Object, volume: Object) -> Path:
        space = pod["metadata"]["namespace"]
        if "persistentVolumeClaim" in volume:
            return self._claimed(space, volume["persistentVolumeClaim"]["claimName"])
        folder = self._of_pod(pod) / volume["name"]
        if "configMap" in volume:
            return self._write(self._make(folder), space, volume["configMap"])
        if "emptyDir" in volume:
            return self._make(folder)
        raise Permanent("volume_unknown", name=volume["name"])

    def _claimed(self, space: str, name: str) -> Path:
        claim = self._store.get(PVC, space, name)
        if claim is not None and awaits_data(claim):
            raise Permanent("volume_unbound", claim=name)
        return self._make(self._root / "claims" / space / name)

    def _write(self, folder: Path, space: str, source: Object) -> Path:
        found = self._store.get(CONFIG_MAP, space, source["name"])
        if found is None:
            raise Permanent("config_map_missing", name=source["name"])
        names = {item["key"]: item["path"] for item in source.get("items", [])}
        for key, text in found.get("data", {}).items():
            file = folder / names.get(key, key)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)  # read-only since the last start
            file.write_text(text)
            file.chmod(0o444)
        return folder

    def _make(self, folder: Path) -> Path:
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o700)
            if self._account is not None:
                os.chown(folder, self._account.uid, self._account.gid)
        return folder

    def _of_pod(self, pod: Object) -> Path:
        return self._root / "pods" / str(pod["metadata"]["uid"])
