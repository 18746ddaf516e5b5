"""The whole stand-in as the process that it is, a bare repository that it follows, and a secret endpoint."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
from kubernetes import client, config

from controller.core import ids
from controller.gitops import manifests
from controller.sandbox.processes import free_port
from tests.gitops import remotes

T = TypeVar("T")
HERE = Path(__file__).parent
CELL = "test"
CELL_VALUES = {
    "name": CELL, "image": "sandbox.test/box@sha256:" + "0" * 64, "exec": "off", "api_url": "http://api.test",
    "proxy_url": "http://proxy.test", "telegram_api_url": "http://telegram.test",
}  # fmt: skip
PORT_ANNOTATION = "sandbox.openclaw.cloud/gateway-port"
REFRESH = "argocd.argoproj.io/application-set-refresh"
ARGO = ("argoproj.io", "v1alpha1", "argocd")


def until(look: Callable[[], T], seconds: float = 90.0) -> T:
    """What ``look`` returns once it is true; fails when it is not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds} s"
        time.sleep(0.03)
    return seen


def box(box_id: str, *, state: str = "active", rev: int = 1, release: str = "2026.11.1", **overrides: Any) -> bytes:
    """A box's file; JSON is YAML."""
    spec = {"state": state, "rev": rev, "release": release}
    meta = {"id": box_id, "customer": box_id}
    made = {"apiVersion": "openclaw.cloud/v1", "kind": "Box", "metadata": meta, "spec": spec, "overrides": overrides}
    return json.dumps(made).encode()


class Secrets:
    """A secret endpoint that answers every key while ``open`` is true, and keeps who asked for what."""

    def __init__(self) -> None:
        self.open = True
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers["Authorization"]))
                self.send_response(200 if outer.open else 503)
                self.end_headers()
                self.wfile.write(b'{"value": "oc_agent_secret"}')

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Cluster:
    """The stand-in's process over one data folder; it can be stopped, killed and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.data, self.remote, self.secrets = folder / "data", remotes.create(folder / "git"), Secrets()
        self.log = folder / "cluster.log"
        image = folder / "image" / "bin"
        image.mkdir(parents=True)
        shutil.copyfile(HERE / "agent.py", image / "agent")
        (image / "agent").chmod(0o755)
        (folder / "values.json").write_text(json.dumps(CELL_VALUES))
        given = {
            "port": free_port(), "data": self.data, "git": self.remote, "chart": HERE / "chart", "cell": CELL,
            "cell-values": folder / "values.json", "secrets-url": self.secrets.url, "secrets-token": "cell-secret",
            "image": folder / "image",
        }  # fmt: skip
        self._argv = [sys.executable, "-m", "controller.sandbox.cluster", "--backoff-seconds", "1", *options]
        self._argv += [part for name, value in given.items() for part in (f"--{name}", str(value))]
        self.start()

    def start(self) -> None:
        """Start it and wait for its kubeconfig."""
        (self.data / "kubeconfig").unlink(missing_ok=True)
        # the interpreter's folder may be closed to the account that containers run as: the system's own is not
        env = {**os.environ, "PATH": os.defpath if os.geteuid() == 0 else os.environ["PATH"], "OUR_OWN": "private"}
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(self._argv, env=env, stdout=subprocess.PIPE, stderr=sink)
        until(lambda: self.process.poll() is not None or (self.data / "kubeconfig").exists())
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        api = config.new_client_from_config(str(self.data / "kubeconfig"))
        self.core, self.apps = client.CoreV1Api(api), client.AppsV1Api(api)
        self.custom = client.CustomObjectsApi(api)

    def stop(self) -> bytes:
        """SIGTERM and wait; what it printed on stdout."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[0]

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.communicate(timeout=20)

    def commit(self, box_id: str, **content: Any) -> None:
        """Commit the box's file and ask Argo to look."""
        self.commit_file(manifests.path(CELL, box_id), box(box_id, **content))
        self.refresh(manifests.application_set(box_id))

    def commit_file(self, path: str, content: bytes) -> None:
        """Commit one file as it is."""
        remotes.commit(self.remote, {path: content}, "change")

    def refresh(self, name: str) -> None:
        """Annotate an ApplicationSet as the writer does."""
        patch = {"metadata": {"annotations": {REFRESH: ids.new()}}}
        self.custom.patch_namespaced_custom_object(*ARGO, "applicationsets", name, patch)

    def argo(self, plural: str) -> dict[str, Any]:
        """The list of Argo CD's objects of one kind."""
        listed: Any = self.custom.list_namespaced_custom_object(*ARGO, plural)
        return dict(listed)

    def application(self, box_id: str) -> dict[str, Any]:
        """The box's Application; empty if there is none."""
        listed = self.argo("applications")["items"]
        return next((one for one in listed if one["metadata"]["name"] == box_id), {})

    def application_set(self, name: str) -> dict[str, Any]:
        """One ApplicationSet."""
        return next(one for one in self.argo("applicationsets")["items"] if one["metadata"]["name"] == name)

    def annotations(self, box_id: str) -> dict[str, str]:
        """The annotations of the box's namespace."""
        meta = self.core.read_namespace(f"box-{box_id}").metadata
        return dict((meta and meta.annotations) or {})

    def settled(self, box_id: str, rev: int = 1) -> bool:
        """Whether ``rev`` is applied, in sync and healthy, and nothing is under way."""
        found = self.application(box_id)
        status = found.get("status", {})
        source = status.get("sync", {}).get("comparedTo", {}).get("source")
        return bool(
            source
            and source["helm"]["valuesObject"]["spec"]["rev"] >= rev
            and (status["sync"]["status"], status.get("health", {}).get("status")) == ("Synced", "Healthy")
            and status.get("operationState", {}).get("phase") == "Succeeded"
            and "operation" not in found
        )

    def running(self, **content: Any) -> str:
        """The id of a new box that is committed and settled."""
        box_id = ids.new()
        self.commit(box_id, **content)
        until(lambda: self.settled(box_id))
        return box_id

    def pods(self, box_id: str) -> list[Any]:
        """The box's pods."""
        found: list[Any] = self.core.list_namespaced_pod(f"box-{box_id}").items
        return found

    def about(self, box_id: str) -> dict[str, Any]:
        """What the box's process says about itself."""
        port = self.pods(box_id)[0].metadata.annotations[PORT_ANNOTATION]
        told: dict[str, Any] = httpx.get(f"http://127.0.0.1:{port}/about", trust_env=False).json()
        return told

    def waiting(self, box_id: str) -> str:
        """Why the box's container waits, if it does."""
        states = [one.state for pod in self.pods(box_id) for one in pod.status.container_statuses or []]
        return next((state.waiting.reason for state in states if state.waiting), "")

    def volume(self, box_id: str) -> Path:
        """Where the box's data is on this machine."""
        return self.data / "volumes" / "claims" / f"box-{box_id}" / "data"


def alive(pid: int) -> bool:
    """Whether a process runs, and not merely waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False
