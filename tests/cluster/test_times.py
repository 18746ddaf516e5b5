"""How long a commit takes to the running cluster, leg by leg: measured and shown, never asserted."""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path

from controller.domain.plans import PlanName
from tests.cluster.test_lives import reactivate, resize, suspend
from tests.cluster.world import World

BOXES = int(os.environ.get("CLUSTER_TESTS_BOXES", "200"))
ONE_BY_ONE = 10
REPORT = os.environ.get("CLUSTER_TESTS_JSON")


def test_boxes_one_after_another(world: World) -> None:
    legs: dict[str, dict[str, list[float]]] = {}
    for _ in range(ONE_BY_ONE):
        box = world.live()
        gather(legs, "provision", world.legs(world.settled(box)))
        for name, verb in (("resize", resize(PlanName.PRO)), ("suspend", suspend), ("reactivate", reactivate(world))):
            world.run(box, verb)
            gather(legs, name, world.legs(world.settled(box)))
    for name, found in legs.items():
        show(f"{name}, one at a time", found)


def test_many_boxes_at_once(world: World) -> None:
    bought = world.buy(BOXES)
    begun = time.time()
    world.write()
    revs = world.settled(*bought, seconds=1800)
    legs = world.legs(revs)
    show(f"{BOXES} boxes at once", legs, begun)
    assert {world.kube.get("Namespace", f"box-{box}")["status"]["phase"] for box in bought} == {"Active"}


def gather(legs: dict[str, dict[str, list[float]]], name: str, found: dict[str, list[float]]) -> None:
    for leg, seconds in found.items():
        legs.setdefault(name, {}).setdefault(leg, []).extend(seconds)


def show(title: str, legs: dict[str, list[float]], begun: float | None = None) -> None:
    """Print the legs' median and worst, and add them to the file that ``CLUSTER_TESTS_JSON`` names."""
    told = {leg: {"median": round(statistics.median(of), 2), "worst": round(max(of), 2)} for leg, of in legs.items()}
    whole = {} if begun is None else {"seconds": round(time.time() - begun, 1)}
    line = {"what": title, **whole, "count": len(legs["all"]), "legs": told}
    print(json.dumps(line))
    if REPORT:
        with Path(REPORT).open("a") as out:
            out.write(json.dumps(line) + "\n")
