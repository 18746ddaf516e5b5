"""Stands for docker, k3d, kubectl and helm, each a link to this file: notes what it is told, answers from a file.

A script of its own that imports nothing of ours. ``told`` gets a line for each call; ``world.json`` is what there is:
clusters, images, and objects by kind, namespace and name. What this does not know it does well, as far as it says.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(os.environ["FAKE_WORLD"])
World = dict[str, Any]


def main() -> None:
    name, args = Path(sys.argv[0]).name, sys.argv[1:]
    # a tool that nobody feeds must not wait for who runs the tests to type
    said = sys.stdin.read() if "-" in args else ""
    with (HERE / "told").open("a") as out:
        out.write(json.dumps({"argv": [name, *args], "said": said, "kubeconfig": os.environ.get("KUBECONFIG")}) + "\n")
    world: World = json.loads((HERE / "world.json").read_text())
    if " ".join([name, *args[:2]]) in world["broken"]:
        sys.exit(1)
    answer = {"docker": docker, "k3d": k3d, "kubectl": kubectl, "helm": helm}[name](args, said, world)
    (HERE / "world.json").write_text(json.dumps(world))
    sys.stdout.write(answer)


def digest(text: str) -> str:
    return "sha256:" + (text.encode().hex() + "0" * 64)[:64]


def docker(args: list[str], _: str, world: World) -> str:
    images = world["images"]
    if args[:2] == ["image", "inspect"]:
        if args[-1] not in images:
            sys.exit(1)
        return json.dumps(images[args[-1]])
    if args[0] in {"pull", "push"}:
        name = args[-1].rpartition(":")[0]
        images.setdefault(args[-1], []).append(f"{name}@{digest(name)}")
    elif args[0] == "tag":
        images[args[2]] = list(images[args[1]])
    elif args[0] == "build":
        images[args[args.index("--tag") + 1]] = []
    return ""


def k3d(args: list[str], _: str, world: World) -> str:
    clusters = world["clusters"]
    if args[:2] == ["cluster", "list"]:
        return json.dumps([{"name": name, "serversRunning": running} for name, running in clusters.items()])
    if args[:2] == ["kubeconfig", "get"]:
        return "---\nkind: Config\n"
    if args[:2] == ["cluster", "delete"]:
        del clusters[args[2]]
    else:
        clusters["openclaw-cloud"] = 1
    return ""


def after(args: list[str], option: str) -> str:
    return args[args.index(option) + 1] if option in args else ""


def kubectl(args: list[str], said: str, world: World) -> str:
    objects = world["objects"]
    if args[0] == "apply" and said:
        for one in documents(said):
            about = one["metadata"]
            objects["/".join((one["kind"].lower(), about.get("namespace", ""), about["name"]))] = one
    elif args[0] == "get":
        kind = {"applications.argoproj.io": "application"}.get(args[1], args[1])
        found = objects.get("/".join((kind, after(args, "--namespace"), args[2])))
        if found is None and "--ignore-not-found" not in args:
            sys.exit(1)
        if found is not None and "jsonpath" in after(args, "--output"):
            return str(found["metadata"].get("annotations", {}).get("openclaw.cloud/source", ""))
        return json.dumps(found) if found is not None else ""
    return ""


def documents(said: str) -> Iterator[Any]:
    one = json.loads(said)
    yield from one.get("items", [one])


def helm(args: list[str], said: str, world: World) -> str:
    if args[0] == "package":
        chart = Path(args[1])
        (Path(after(args, "--destination")) / f"{chart.name}-1.0.0.tgz").write_text(chart.name)
    elif args[:2] == ["repo", "index"]:
        (Path(args[2]) / "index.yaml").write_text(after(args, "--url"))
    elif args[0] == "list":
        return json.dumps(world["releases"])
    elif args[0] == "upgrade":
        released = f"{args[2]}-{after(args, '--version')}"
        world["releases"] = [{"name": args[2], "status": "deployed", "chart": released}]
    elif args[0] == "template":
        kind = {"platform-apps": "Application"}.get(args[1], "Rendered")
        about = {"name": args[1], "namespace": after(args, "--namespace")}
        return json.dumps({"kind": kind, "metadata": about, "values": json.loads(said)})
    return ""


if __name__ == "__main__":
    main()
