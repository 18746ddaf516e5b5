"""What a box's pod may never have: one function a rule, each over the parsed objects."""

from __future__ import annotations

import re
from collections.abc import Iterator

from controller.gitops import leaks
from controller.gitops.objects import Box, Object, Rule, containers, items, mapping, maps, pods

_DIGEST = re.compile(r"[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}")
_AGENT_SECRET = re.compile(r"agent-v[1-9][0-9]*")
_LOWEST_ID = 10_000
_VOLUMES = {"persistentVolumeClaim", "emptyDir", "configMap"}
_PLACING = ("nodeName", "nodeSelector", "affinity", "tolerations", "priorityClassName", "schedulerName")
_GUARDS = ("appArmorProfile", "seLinuxOptions", "windowsOptions")
_ALL = {"cpu", "memory", "ephemeral-storage"}


def _host_namespaces(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(key):
                yield f"{name} sets {key}: a box has nothing of its host's"
        if spec.get("hostUsers") or spec.get("hostAliases"):
            yield f"{name} sets hostUsers or hostAliases: a box has nothing of its host's"


def _host_paths(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        for volume in maps(spec, "volumes"):
            if "hostPath" in volume:
                yield f"{name} mounts a folder of its host as {volume.get('name')}"


def _host_ports(objects: list[Object], _: Box) -> Iterator[str]:
    for name, container in containers(objects):
        if any(port.get("hostPort") for port in maps(container, "ports")):
            yield f"{name} takes a port of its host"


def _volumes(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        for volume in maps(spec, "volumes"):
            if sorts := set(volume) - {"name", "hostPath"} - _VOLUMES:
                yield f"{name} has a volume of {', '.join(sorted(sorts))}; only {', '.join(sorted(_VOLUMES))} may be"


def _scratch(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        for volume in maps(spec, "volumes"):
            if "emptyDir" in volume and not mapping(volume, "emptyDir").get("sizeLimit"):
                yield f"{name} has an emptyDir without a sizeLimit: {volume.get('name')}"


def _not_root(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        if mapping(spec, "securityContext").get("runAsNonRoot") is not True:
            yield f"{name} lacks runAsNonRoot: true"
    for name, container in containers(objects):
        if mapping(container, "securityContext").get("runAsNonRoot", True) is not True:
            yield f"{name} takes runAsNonRoot back"


def _user(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        for key in ("runAsUser", "runAsGroup", "fsGroup"):
            value = mapping(spec, "securityContext").get(key)
            if not isinstance(value, int) or value < _LOWEST_ID:
                yield f"{name} needs a fixed {key} of {_LOWEST_ID} or more"
    for name, container in containers(objects):
        for key in ("runAsUser", "runAsGroup"):
            value = mapping(container, "securityContext").get(key, _LOWEST_ID)
            if not isinstance(value, int) or value < _LOWEST_ID:
                yield f"{name} sets {key} below {_LOWEST_ID}"


def _seccomp(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        if mapping(spec, "securityContext", "seccompProfile").get("type") != "RuntimeDefault":
            yield f"{name} lacks the seccomp profile RuntimeDefault"
    for name, container in containers(objects):
        if mapping(container, "securityContext", "seccompProfile").get("type", "RuntimeDefault") != "RuntimeDefault":
            yield f"{name} leaves the seccomp profile RuntimeDefault"


def _sysctls(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        if items(spec, "securityContext", "sysctls") or items(spec, "securityContext", "supplementalGroups"):
            yield f"{name} sets sysctls or supplementalGroups"


def _pod_token(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{name} lacks automountServiceAccountToken: false, so the pod gets a token of the cluster"


def _account(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        if spec.get("serviceAccountName") != "agent":
            yield f"{name} runs as ServiceAccount {spec.get('serviceAccountName')}, not as its own, agent"


def _service_links(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        if spec.get("enableServiceLinks") is not False:
            yield f"{name} lacks enableServiceLinks: false"


def _shared_processes(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        if spec.get("shareProcessNamespace"):
            yield f"{name} sets shareProcessNamespace"


def _placing(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        if chosen := [key for key in _PLACING if spec.get(key)]:
            yield f"{name} chooses where or before whom it runs: {', '.join(chosen)}"


def _one_container(objects: list[Object], _: Box) -> Iterator[str]:
    for name, spec in pods(objects):
        if len(items(spec, "containers")) != 1 or spec.get("initContainers") or spec.get("ephemeralContainers"):
            yield f"{name} must have exactly one container"


def _privileged(objects: list[Object], _: Box) -> Iterator[str]:
    for name, container in containers(objects):
        if mapping(container, "securityContext").get("privileged"):
            yield f"{name} is privileged"


def _escalation(objects: list[Object], _: Box) -> Iterator[str]:
    for name, container in containers(objects):
        if mapping(container, "securityContext").get("allowPrivilegeEscalation") is not False:
            yield f"{name} lacks allowPrivilegeEscalation: false"


def _capabilities(objects: list[Object], _: Box) -> Iterator[str]:
    for name, container in containers(objects):
        asked = mapping(container, "securityContext", "capabilities")
        if asked.get("drop") != ["ALL"] or asked.get("add"):
            yield f"{name} must drop ALL capabilities and add none"


def _read_only_root(objects: list[Object], _: Box) -> Iterator[str]:
    for name, container in containers(objects):
        if mapping(container, "securityContext").get("readOnlyRootFilesystem") is not True:
            yield f"{name} lacks readOnlyRootFilesystem: true"


def _proc_mount(objects: list[Object], _: Box) -> Iterator[str]:
    for name, container in containers(objects):
        if mapping(container, "securityContext").get("procMount", "Default") != "Default":
            yield f"{name} asks for an unmasked /proc"


def _host_guards(objects: list[Object], _: Box) -> Iterator[str]:
    """AppArmor, SELinux and their like are the node's to choose: what a pod says of them can only loosen them."""
    for name, given in [*pods(objects), *containers(objects)]:
        if chosen := [key for key in _GUARDS if mapping(given, "securityContext").get(key)]:
            yield f"{name} chooses how its host confines it: {', '.join(chosen)}"


def _mounts(objects: list[Object], _: Box) -> Iterator[str]:
    for name, container in containers(objects):
        if any(mount.get("mountPropagation", "None") != "None" for mount in maps(container, "volumeMounts")):
            yield f"{name} shares its mounts with its host"


def _image(objects: list[Object], _: Box) -> Iterator[str]:
    for name, container in containers(objects):
        if not _DIGEST.fullmatch(str(container.get("image"))):
            yield f"{name} must name its image by digest: a tag can be moved"


def _limits(objects: list[Object], _: Box) -> Iterator[str]:
    for name, container in containers(objects):
        for side in ("requests", "limits"):
            if missing := _ALL - set(mapping(container, "resources", side)):
                yield f"{name} lacks {side} for {', '.join(sorted(missing))}"


def _secrets_in_env(objects: list[Object], _: Box) -> Iterator[str]:
    for name, container in containers(objects):
        if container.get("envFrom"):
            yield f"{name} takes its environment from whole objects (envFrom)"
        for entry in maps(container, "env"):
            source = mapping(entry, "valueFrom")
            wanted = mapping(source, "secretKeyRef").get("name")
            if source and (set(source) != {"secretKeyRef"} or not _AGENT_SECRET.fullmatch(str(wanted))):
                yield f"{name} reads {entry.get('name')} from elsewhere than the agent's own secret"
            if any(leaks.find(str(entry.get("value", "")).encode())):
                yield f"{name} has a secret in plain sight in {entry.get('name')}"


RULES: dict[str, Rule] = {
    "host-namespaces": _host_namespaces,
    "host-path": _host_paths,
    "host-port": _host_ports,
    "volume-kinds": _volumes,
    "scratch-limit": _scratch,
    "run-as-non-root": _not_root,
    "high-user": _user,
    "seccomp": _seccomp,
    "sysctls": _sysctls,
    "pod-token": _pod_token,
    "own-account": _account,
    "service-links": _service_links,
    "shared-processes": _shared_processes,
    "placing": _placing,
    "one-container": _one_container,
    "privileged": _privileged,
    "privilege-escalation": _escalation,
    "capabilities": _capabilities,
    "read-only-root": _read_only_root,
    "proc-mount": _proc_mount,
    "host-guards": _host_guards,
    "mount-shared": _mounts,
    "image-digest": _image,
    "resources": _limits,
    "secret-in-env": _secrets_in_env,
}
"""By name: the rules on pods and their containers."""
