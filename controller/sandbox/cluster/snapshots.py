"""A snapshot controller and its driver: a VolumeSnapshot is a copy of its claim's folder, a claim one of it."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from controller.core import log as logs
from controller.sandbox.cluster import volumes
from controller.sandbox.cluster.resources import PVC, VOLUME_SNAPSHOT, Object
from controller.sandbox.cluster.store import Store, now

log = logs.get(__name__)


class Snapshots:
    """The snapshots of one node, beside its claims; a class of any name is this driver's."""

    def __init__(self, store: Store, root: Path) -> None:
        self._store = store
        self._root = root

    async def run(self) -> None:
        """Take each snapshot once its claim is bound, and bind each claim that is made from one once that is taken.

        What is left of snapshots that are gone is removed.
        """
        changes = self._store.watch(VOLUME_SNAPSHOT, PVC)
        self._sweep()
        await self._see_all()
        async for event in changes:
            if event.kind == VOLUME_SNAPSHOT and event.type == "DELETED":
                shutil.rmtree(self.folder(event.object), ignore_errors=True)
            await self._see_all(event.object["metadata"]["namespace"])

    def folder(self, snapshot: Object) -> Path:
        """Where the copy is, complete or not there at all."""
        return self._root / "snapshots" / str(snapshot["metadata"]["uid"])

    async def _see_all(self, namespace: str | None = None) -> None:
        for obj in self._store.list(VOLUME_SNAPSHOT, namespace):
            await self._see(obj)
        for claim in self._store.list(PVC, namespace):
            if volumes.awaits_data(claim):
                await self._fill(claim)

    async def _fill(self, claim: Object) -> None:
        """The claim is bound to a new folder with the snapshot's files, unless that is not taken yet."""
        meta, source = claim["metadata"], claim["spec"]["dataSource"]
        snapshot = self._store.get(VOLUME_SNAPSHOT, meta["namespace"], str(source.get("name")))
        if snapshot is None or not snapshot.get("status", {}).get("readyToUse"):
            return
        target = self._root / "claims" / meta["namespace"] / meta["name"]
        try:
            await asyncio.to_thread(_replace, self.folder(snapshot), target)
        except OSError as error:
            log.warning("snapshots.not_restored", name=meta["name"], error=str(error))
            return
        self._store.update_status(PVC, meta["namespace"], meta["name"], volumes.bound(claim))

    async def _see(self, seen: Object) -> None:
        meta = seen["metadata"]
        obj = self._store.get(VOLUME_SNAPSHOT, meta["namespace"], meta["name"])
        if obj is None or obj["metadata"]["uid"] != meta["uid"] or obj.get("status", {}).get("readyToUse"):
            return
        source = (obj.get("spec") or {}).get("source") or {}
        name = str(source.get("persistentVolumeClaimName", ""))
        claim = self._store.get(PVC, meta["namespace"], name)
        if claim is None or claim.get("status", {}).get("phase") != "Bound":
            self._refuse(obj, f"the PVC {meta['namespace']}/{name} is not there or not bound")
            return
        try:
            await asyncio.to_thread(_replace, self._root / "claims" / meta["namespace"] / name, self.folder(obj))
        except OSError as error:
            log.warning("snapshots.failed", name=meta["name"], error=str(error))
            self._refuse(obj, f"failed to take the snapshot: {type(error).__name__}")
            return
        size = claim["status"].get("capacity", {}).get("storage", "0")
        made = {"readyToUse": True, "creationTime": now(), "restoreSize": size}
        bound = {"boundVolumeSnapshotContentName": f"snapcontent-{meta['uid']}"}
        self._store.update_status(VOLUME_SNAPSHOT, meta["namespace"], meta["name"], made | bound)

    def _refuse(self, obj: Object, why: str) -> None:
        meta, told = obj["metadata"], obj.get("status", {}).get("error", {})
        if told.get("message") != why:  # a write that says nothing new would be seen as a change for ever
            status = {"readyToUse": False, "error": {"message": why, "time": now()}}
            self._store.update_status(VOLUME_SNAPSHOT, meta["namespace"], meta["name"], status)

    def _sweep(self) -> None:
        known = {str(obj["metadata"]["uid"]) for obj in self._store.list(VOLUME_SNAPSHOT)}
        for folder in (self._root / "snapshots").glob("*"):
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)


def _replace(source: Path, target: Path) -> None:
    """``target`` is a copy of the source from one instant on; empty if no pod has mounted that yet."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    if source.exists():
        copy(source, partial)
    else:
        partial.mkdir()
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def copy(source: Path, target: Path) -> None:
    """``target`` is a new copy of the folder, owners and times too; sockets and pipes are no data and stay out.

    A pod may be writing: what it removes meanwhile is not in the copy. A file that it moves may be in it twice or not
    at all, which a real snapshot, of one instant, is safe from.
    """
    target.mkdir()
    for entry in os.scandir(source):
        made = target / entry.name
        try:
            if entry.is_symlink():
                made.symlink_to(os.readlink(entry.path))
            elif entry.is_dir():
                copy(Path(entry.path), made)
            elif entry.is_file():
                shutil.copy2(entry.path, made)
            else:
                continue
            _own(entry.stat(follow_symlinks=False), made)
        except FileNotFoundError:
            continue
    shutil.copystat(source, target)
    _own(source.stat(), target)


def _own(stat: os.stat_result, made: Path) -> None:
    if os.geteuid() == 0:  # nobody else may give files away, and then they are all ours
        os.chown(made, stat.st_uid, stat.st_gid, follow_symlinks=False)
