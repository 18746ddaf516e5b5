"""Argo CD's application controller: render, compare, apply, prune, and say so in the status as it goes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from controller.core import clock
from controller.core import log as logs
from controller.core.errors import CloudError
from controller.sandbox.cluster import differences, health, resources
from controller.sandbox.cluster.argo_sets import ARGO
from controller.sandbox.cluster.differences import SYNCED, Differences
from controller.sandbox.cluster.events import Recorder
from controller.sandbox.cluster.render import Chart, Charts, RenderError
from controller.sandbox.cluster.resources import APPLICATION, NAMESPACE, VOLUME_SNAPSHOT, Object
from controller.sandbox.cluster.store import Store, Watcher

log = logs.get(__name__)

RETRIES = 3
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 2.0, 20.0
SKIP = "argocd.argoproj.io/skip-reconcile"
CASCADE = "resources-finalizer.argocd.argoproj.io"
WAITING = "waiting for healthy state"
EMPTY = "auto-sync will wipe out all resources"


@dataclass
class _Attempt:
    """How syncing one source went so far; ``not_before`` is the event loop's time."""

    source: Object
    failures: int = 0
    not_before: float = 0.0
    error: str = ""
    started_at: str = ""

    @property
    def exhausted(self) -> bool:
        return self.failures > RETRIES


class Sync:
    """Brings the live objects of every Application to what its chart renders."""

    def __init__(
        self,
        store: Store,
        chart: Chart | Charts,
        wave_seconds: float = 0.0,
        first_retry_seconds: float = FIRST_RETRY_SECONDS,
    ) -> None:
        self._store = store
        self._chart = chart
        self._events = Recorder(store, "argocd-application-controller")
        self._wave_seconds = wave_seconds
        self._first_retry_seconds = first_retry_seconds
        self._attempts: dict[str, _Attempt] = {}
        self._dirty: asyncio.Queue[str] = asyncio.Queue()

    async def run(self) -> None:
        """Follow Applications and their objects; drift is healed as it appears."""
        changes = self._store.watch(APPLICATION, *SYNCED)
        for application in self._store.list(APPLICATION, ARGO):
            self._dirty.put_nowait(application["metadata"]["name"])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(changes))
            while True:
                names = {await self._dirty.get()}
                while not self._dirty.empty():
                    names.add(self._dirty.get_nowait())
                for name in sorted(names):
                    await self._reconcile(name)

    async def _listen(self, changes: Watcher) -> None:
        async for event in changes:
            meta = event.object["metadata"]
            if event.kind == APPLICATION:
                self._dirty.put_nowait(meta["name"])
            else:
                space = meta["name"] if event.kind == NAMESPACE else meta.get("namespace", "")
                if space.startswith("box-"):
                    self._dirty.put_nowait(space.removeprefix("box-"))

    async def _reconcile(self, name: str) -> None:
        application = self._store.get(APPLICATION, ARGO, name)
        if application is None or "deletionTimestamp" in application["metadata"]:
            self._attempts.pop(name, None)
            self._cascade(application)
            return
        if application["metadata"].get("annotations", {}).get(SKIP) == "true":
            return
        source = application.get("spec", {}).get("source")
        try:
            wanted = await asyncio.to_thread(self._chart.render, name, source)
        except RenderError as error:
            sync = {"status": "Unknown", "comparedTo": {"source": source}}
            self._status(name, sync=sync, conditions=[_condition("ComparisonError", str(error))])
            self._abandon(name, str(error))
            return
        # Seen again: what is asked for meanwhile must not end as what was given up, nor be done for the old source.
        application = self._store.get(APPLICATION, ARGO, name)
        if application is None or application.get("spec", {}).get("source") != source:
            self._dirty.put_nowait(name)
            return
        found = differences.compare(self._store, name, wanted)
        if "operation" in application and _ended(application):  # asked for: it is not what was given up
            self._attempts.pop(name, None)
        attempt, automated = self._attempt(name, source, found), _automated(application)
        emptied = not wanted and bool(found.prunes) and not automated.get("allowEmpty")
        attempt.error = EMPTY if emptied else attempt.error
        self._observe(name, source, wanted, found)
        work = "operation" in application or (automated and (found.changes or found.prunes))
        if emptied or attempt.exhausted:
            self._abandon(name, attempt.error)
        elif work and asyncio.get_running_loop().time() >= attempt.not_before and not self._waits(name, found):
            await self._operate(name, attempt, found)

    def _cascade(self, application: Object | None) -> None:
        """With Argo CD's finalizer an Application's deletion takes its objects along, and waits until they are gone."""
        finalizers = list((application or {}).get("metadata", {}).get("finalizers") or [])
        if application is None or CASCADE not in finalizers:
            return
        name = application["metadata"]["name"]
        found = differences.compare(self._store, name, [])
        for obj in found.prunes:
            self._prune(obj)
        if not any("Prune=false" not in str(obj["metadata"].get("annotations")) for obj in found.extra):
            finalizers.remove(CASCADE)
            self._store.update({**application, "metadata": {**application["metadata"], "finalizers": finalizers}})

    def _abandon(self, name: str, why: str) -> None:
        """Nothing will be done for this source: an operation that is still under way ends here, failed."""
        application = self._store.get(APPLICATION, ARGO, name)
        if application is not None and "operation" in application:
            self._finish(name, application.get("status", {}).get("operationState", {}), why)

    def _attempt(self, name: str, source: Object, found: Differences) -> _Attempt:
        attempt = self._attempts.get(name)
        if attempt is None or attempt.source != source or not found:
            attempt = self._attempts[name] = _Attempt(source)
        return attempt

    def _observe(self, name: str, source: Object, wanted: list[Object], found: Differences) -> None:
        live = [differences.find(self._store, obj) for obj in wanted]
        error = self._attempts[name].error
        sync = {"status": "OutOfSync" if found else "Synced", "revision": source["targetRevision"]}
        self._status(
            name,
            sync={**sync, "comparedTo": {"source": source}},
            health={"status": health.worst(live)},
            resources=_listed(wanted, found),
            conditions=[_condition("SyncError", error)] if error else [],
        )

    async def _operate(self, name: str, attempt: _Attempt, found: Differences) -> None:
        source = attempt.source
        sync = {"prune": True, "revision": source["targetRevision"], "source": source}
        operation = {"initiatedBy": {"automated": True}, "retry": {"limit": RETRIES}, "sync": sync}
        self._mark(name, operation)
        if not attempt.failures:
            self._tell(name, "OperationStarted", f"Initiated automated sync to '{source['targetRevision']}'")
        attempt.started_at = attempt.started_at or _now()
        state: Object = {
            "operation": operation, "phase": "Running", "startedAt": attempt.started_at, "retryCount": attempt.failures,
            "syncResult": {"revision": source["targetRevision"], "source": source, "resources": []},
        }  # fmt: skip
        self._status(name, operationState=state)
        await asyncio.sleep(0)  # whoever watches sees it begin
        failure = await self._carry_out(name, state, found)
        if failure == WAITING:
            return  # the snapshot's next status is heard, and the rest of the waves goes on from there
        if failure and not attempt.exhausted:
            self._retry(name, attempt, state, failure)
        if not failure or attempt.exhausted:
            self._finish(name, state, failure)
            if not failure:
                self._attempts.pop(name, None)
        self._dirty.put_nowait(name)

    async def _carry_out(self, name: str, state: Object, found: Differences) -> str:
        """Apply and prune in order, telling the status after each wave; the first failure's message or nothing."""
        results = state["syncResult"]["resources"]
        for number, wave in enumerate(differences.waves(found.changes)):
            await asyncio.sleep(self._wave_seconds if number else 0)
            if (held := self._held(name, differences.wave(wave[0]), found)) is not None:
                if health.of(held) == "Progressing":
                    return WAITING
                results.append({**_reference(held), "status": "SyncFailed", "message": _reason(held)})
                return _failure(results)
            results += [self._apply(obj) for obj in wave]
            self._status(name, operationState=state)
            if message := _failure(results):
                return message
        # PruneLast: one refused deletion holds up no other
        results += [self._prune(obj) for wave in reversed(differences.waves(found.prunes)) for obj in reversed(wave)]
        return _failure(results)

    def _waits(self, name: str, found: Differences) -> bool:
        """Whether the next thing to apply is of a wave that a snapshot still holds up."""
        due = min(map(differences.wave, found.changes), default=None)
        held = None if due is None else self._held(name, due, found)
        return held is not None and health.of(held) == "Progressing"

    def _held(self, name: str, wave: int, found: Differences) -> Object | None:
        """The snapshot of an earlier wave that is not ready: of all kinds this stand-in waits only for these."""
        gone = {obj["metadata"]["name"] for obj in found.extra if resources.of(obj) == VOLUME_SNAPSHOT}
        for obj in self._store.list(VOLUME_SNAPSHOT, f"box-{name}"):
            earlier = differences.wave(obj) < wave and obj["metadata"]["name"] not in gone
            if earlier and health.of(obj) != "Healthy":
                return obj
        return None

    def _apply(self, obj: Object) -> Object:
        live = differences.find(self._store, obj)
        try:
            if live is None:
                self._store.create(differences.fresh(obj))
            else:
                self._store.update(differences.applied(live, obj))
        except CloudError as error:
            return {**_reference(obj), "status": "SyncFailed", "message": str(error)}
        return {**_reference(obj), "status": "Synced", "message": "serverside-applied"}

    def _prune(self, obj: Object) -> Object:
        try:
            self._store.delete(resources.of(obj), obj["metadata"].get("namespace"), obj["metadata"]["name"])
        except CloudError as error:
            return {**_reference(obj), "status": "SyncFailed", "message": str(error)}
        return {**_reference(obj), "status": "Pruned", "message": "pruned"}

    def _retry(self, name: str, attempt: _Attempt, state: Object, failure: str) -> None:
        attempt.failures += 1
        attempt.error = failure
        log.warning("argo.sync_failed", application=name, failures=attempt.failures, message=failure)
        if attempt.exhausted:
            return
        loop = asyncio.get_running_loop()
        wait = min(self._first_retry_seconds * 2 ** (attempt.failures - 1), LONGEST_RETRY_SECONDS)
        attempt.not_before = loop.time() + wait
        loop.call_at(attempt.not_before, self._dirty.put_nowait, name)
        message = f"{failure}. Retrying attempt #{attempt.failures}"
        self._status(name, operationState={**state, "retryCount": attempt.failures, "message": message})

    def _finish(self, name: str, state: Object, failure: str) -> None:
        outcome = f"failed: {failure}" if failure else "succeeded"
        self._tell(
            name, "OperationCompleted", f"Sync operation to {state.get('syncResult', {}).get('revision')} {outcome}"
        )
        ended = {"phase": "Failed" if failure else "Succeeded", "finishedAt": _now()}
        message = failure or "successfully synced (all tasks run)"
        self._status(name, operationState={**state, **ended, "message": message})
        self._mark(name, None)

    def _tell(self, name: str, reason: str, message: str) -> None:
        application = self._store.get(APPLICATION, ARGO, name)
        if application is not None:
            tell = self._events.warn if "failed" in message else self._events.normal
            tell(application, reason, message)

    def _mark(self, name: str, operation: Object | None) -> None:
        """Set the Application's ``operation``, or take it away."""
        application = self._store.get(APPLICATION, ARGO, name)
        if application is not None:
            application.pop("operation", None)
            self._store.update({**application, "operation": operation} if operation else application)

    def _status(self, name: str, **parts: Any) -> None:
        """Write these parts; a look that saw nothing new writes nothing, so that an idle cluster stays idle."""
        application = self._store.get(APPLICATION, ARGO, name)
        if application is None:
            return
        old = application.get("status", {})
        finished = old.get("operationState", {}).get("finishedAt", "")
        if {**old, **parts} != old or old.get("reconciledAt", "") < finished:
            looked = {"reconciledAt": _now()} if "sync" in parts else {}
            self._store.update_status(APPLICATION, ARGO, name, {**old, **parts, **looked})


def _automated(application: Object) -> Object:
    """The automated sync policy; empty if somebody has to ask for each sync."""
    policy = application["spec"].get("syncPolicy") or {}
    automated: Object = policy.get("automated") or {}
    return {} if automated.get("enabled") is False else automated


def _ended(application: Object) -> bool:
    return "finishedAt" in application.get("status", {}).get("operationState", {})


def _failure(results: list[Object]) -> str:
    return next((str(one["message"]) for one in results if one["status"] == "SyncFailed"), "")


def _reason(snapshot: Object) -> str:
    return str(snapshot["status"]["error"].get("message", "the snapshot failed"))


def _condition(kind: str, message: str) -> Object:
    return {"type": kind, "message": message}


def _reference(obj: Object) -> Object:
    kind, meta = resources.of(obj), obj["metadata"]
    return {"group": kind.group, "version": kind.version, "kind": kind.kind, "name": meta["name"],
            "namespace": meta.get("namespace", "")}  # fmt: skip


def _listed(wanted: list[Object], found: Differences) -> list[Object]:
    """The Application's resources as ``status.resources`` has them."""
    states = {id(obj): "OutOfSync" for obj in found.changes}
    listed: list[Object] = []
    for obj in wanted:
        wave = {"syncWave": differences.wave(obj)} if differences.wave(obj) else {}
        listed.append({**_reference(obj), "status": states.get(id(obj), "Synced"), **wave})
    return listed + [{**_reference(obj), "status": "OutOfSync", "requiresPruning": True} for obj in found.extra]


def _now() -> str:
    return clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
