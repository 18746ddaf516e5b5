"""What a pod's container becomes on this machine: mounts, port and image mapped through arguments and environment."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from controller.core.errors import NotFound
from controller.sandbox import confinement
from controller.sandbox.accounts import Account
from controller.sandbox.cluster.resources import SECRET, Object
from controller.sandbox.cluster.store import Store
from controller.sandbox.processes import Command

IMAGE_ROOT = "/opt/openclaw"
PORT_NAME = "gateway"
PORT_VARIABLE = "OPENCLAW_GATEWAY_PORT"
EXEC_VARIABLE = "OPENCLAW_EXEC"
_INHERITED = ("PATH", "LANG", "TZ", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")


def environment(store: Store, pod: Object) -> dict[str, str]:
    """The container's variables as the pod's spec has them, Secrets resolved.

    Raises NotFound while a Secret or its key is not there.
    """
    space = pod["metadata"]["namespace"]
    return {
        variable["name"]: variable["value"]
        if "value" in variable
        else _secret(store, space, variable.get("valueFrom", {}).get("secretKeyRef", {}))
        for variable in _container(pod).get("env", [])
    }


def command(
    pod: Object, variables: Mapping[str, str], mounts: Mapping[str, Path], image: Path, port: int, log: Path,
    account: Account | None,
) -> Command:  # fmt: skip
    """The local process for the pod's container, ``port`` in place of the port named ``gateway``.

    Of our own environment it gets only ``PATH``, the locale, the time zone and where certificates are. A container
    that may run commands is confined where this machine can.
    """
    container = _container(pod)
    folders = {IMAGE_ROOT: image, **mounts}
    made = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    made |= {name: _mapped(str(value), folders) for name, value in variables.items()}
    if PORT_VARIABLE in variables and any(one.get("name") == PORT_NAME for one in container.get("ports", [])):
        made[PORT_VARIABLE] = str(port)
    argv = [_mapped(str(part), folders) for part in [*container.get("command", []), *container.get("args", [])]]
    grace = timedelta(seconds=pod["spec"].get("terminationGracePeriodSeconds", 30))
    plain = Command(pod["metadata"]["name"], argv, log, env=made, account=account, stop_grace=grace)
    if account is None or variables.get(EXEC_VARIABLE) != "full" or not confinement.available():
        return plain
    return confinement.wrap(plain, account, confinement.image_folders(image), mounts.values(), port)


def _container(pod: Object) -> Object:
    found: Object = pod["spec"]["containers"][0]
    return found


def _secret(store: Store, space: str, reference: Object) -> str:
    found = store.get(SECRET, space, reference.get("name", ""))
    value = (found or {}).get("data", {}).get(reference.get("key"))
    if value is None:
        raise NotFound("secret_key_missing", name=reference.get("name"), key=reference.get("key"))
    return base64.b64decode(value).decode()


def _mapped(value: str, folders: Mapping[str, Path]) -> str:
    for inside in sorted(folders, key=len, reverse=True):
        if value == inside or value.startswith(inside.rstrip("/") + "/"):
            return str(folders[inside]) + value[len(inside) :]
    return value
