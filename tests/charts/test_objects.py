"""What the chart makes of a manifest: which objects, in which state, and what changes a pod."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import pytest

from controller.domain import plans
from controller.domain.plans import PlanName
from controller.domain.states import RUNNING, State
from tests.charts.boxes import (
    CHART,
    EVERY,
    ID,
    LOCALES,
    NICHES,
    Object,
    container,
    mounted_files,
    one,
    pod,
    render,
    values,
)  # fmt: skip

KUBERNETES = "1.37"
EXTERNAL_SECRET = json.loads((Path(__file__).parent / "external-secret.schema.json").read_text())
KINDS = {
    ("ConfigMap", "bootstrap"),
    ("Deployment", "agent"),
    ("LimitRange", "box"),
    ("Namespace", f"box-{ID}"),
    ("NetworkPolicy", "default-deny"),
    ("NetworkPolicy", "egress-dns"),
    ("NetworkPolicy", "egress-platform"),
    ("NetworkPolicy", "egress-web"),
    ("PersistentVolumeClaim", "data"),
    ("ResourceQuota", "box"),
    ("ServiceAccount", "agent"),
}
SECRET = ("ExternalSecret", "agent-v1")
TEXTS = ("SOUL.md", "TOOLS.md", "IDENTITY.md")


def kinds(objects: list[Object]) -> list[tuple[str, str]]:
    return sorted((item["kind"], item["metadata"]["name"]) for item in objects)


@functools.cache
def check(text: str) -> None:
    item = json.loads(text)
    if item["kind"] == "ExternalSecret":
        jsonschema.validate(item, EXTERNAL_SECRET)
    else:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


@pytest.mark.parametrize(("state", "plan", "locale", "niche"), EVERY)
def test_every_box_is_made_of_objects_that_kubernetes_accepts(
    state: State, plan: PlanName, locale: str, niche: str
) -> None:
    objects = render(values(state=state, plan=plan, locale=locale, niche=niche))
    for item in objects:
        check(json.dumps(item, sort_keys=True))
    assert bool(objects) is (state != State.DESTROYED)


@pytest.mark.parametrize("state", [state for state in State if state != State.DESTROYED])
def test_a_box_is_the_same_objects_in_every_state_but_for_the_token_of_a_condemned_one(state: State) -> None:
    wanted = KINDS if state == State.CONDEMNED else KINDS | {SECRET}
    assert kinds(render(values(state=state))) == sorted(wanted)


@pytest.mark.parametrize("state", [state for state in State if state != State.DESTROYED])
def test_only_a_running_state_has_a_pod(state: State) -> None:
    replicas = one(render(values(state=state)), "Deployment")["spec"]["replicas"]
    assert replicas == (1 if state in RUNNING else 0)


def test_a_destroyed_box_leaves_nothing() -> None:
    assert render(values(state="destroyed", deletion="approved")) == []


@pytest.mark.parametrize(("deletion", "mark"), [("held", None), ("approved", "true")])
def test_a_namespace_may_go_only_after_the_approval(deletion: str, mark: str | None) -> None:
    namespace = one(render(values(state="condemned", deletion=deletion)), "Namespace")
    assert namespace["metadata"]["annotations"].get("openclaw.cloud/destroy-approved") == mark


def test_each_rev_changes_the_namespace() -> None:
    annotations = one(render(values(rev=1_234_567)), "Namespace")["metadata"]["annotations"]
    assert annotations["openclaw.cloud/rev"] == "1234567"


@pytest.mark.parametrize(
    "change",
    [
        {"rev": 8},
        {"profile": 5},
        {"model": "large"},
        {"thinking": "high"},
        {"ring": 0},
        {"state": "standby"},
        {"niche": "general"},
        {"locale": "en"},
        {"secrets": {"agent": 1, "telegram": 4, "proxy": 2}},
        {"connections": [{"provider": "github", "version": 2}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_reaches_a_box_live_does_not_change_its_pod(change: dict[str, Any]) -> None:
    assert pod(values(**change)) == pod(values())


@pytest.mark.parametrize(
    "change",
    [
        {"plan": "team"},
        {"release": "2026.12.1"},
        {"secrets": {"agent": 2, "telegram": 3, "proxy": 1}},
        {"overrides": {"memory_limit_mib": 4096}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_needs_a_new_pod_changes_its_template(change: dict[str, Any]) -> None:
    assert pod(values(**change)) != pod(values())


def test_an_edited_bootstrap_text_changes_the_pod(tmp_path: Path) -> None:
    copy = tmp_path / "box"
    copy.mkdir()
    for file in (found for found in CHART.rglob("*") if found.is_file() and "image" not in found.parts):
        (copy / file.relative_to(CHART)).parent.mkdir(parents=True, exist_ok=True)
        (copy / file.relative_to(CHART)).write_bytes(file.read_bytes())
    soul = copy / "files/niches/pharmacy/pt-BR/SOUL.md"
    soul.write_text(soul.read_text() + "\nMais uma linha.\n")
    changed = one(render(values(), copy), "Deployment")["spec"]["template"]["metadata"]
    assert changed != pod(values())["metadata"]


@pytest.mark.parametrize("plan", PlanName)
def test_a_pod_gets_what_its_plan_says(plan: PlanName) -> None:
    sold, objects = plans.PLANS[plan].resources, render(values(plan=plan))
    resources = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"]["memory"] == f"{sold.memory_request_mib}Mi"
    assert resources["limits"]["memory"] == f"{sold.memory_limit_mib}Mi"
    assert resources["requests"]["cpu"] == f"{sold.cpu_request_milli}m"
    assert resources["limits"]["cpu"] == f"{sold.cpu_limit_milli}m"


@pytest.mark.parametrize("plan", PlanName)
def test_a_volume_has_the_boxs_size_whatever_its_plan(plan: PlanName) -> None:
    objects = render(values(plan=plan, volume_gib=33))
    assert one(objects, "PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"] == "33Gi"


@pytest.mark.parametrize("volume", [1, 33, 1000])
def test_the_bounds_on_storage_never_grow_so_that_a_volume_may_grow_or_come_in_one_sync(volume: int) -> None:
    objects = render(values(volume_gib=volume))
    [claim] = [it for it in one(objects, "LimitRange")["spec"]["limits"] if it["type"] == "PersistentVolumeClaim"]
    quota = one(objects, "ResourceQuota")["spec"]["hard"]
    assert (claim["max"]["storage"], quota["requests.storage"]) == ("1000Gi", "2000Gi")
    assert quota["persistentvolumeclaims"] == "2"


def test_overrides_win_over_the_plan_one_by_one() -> None:
    resources = container(values(plan="pro", overrides={"memory_limit_mib": 4096, "cpu_limit_milli": None}))[
        "resources"
    ]
    assert resources["limits"] == {"memory": "4096Mi", "cpu": "2000m", "ephemeral-storage": "1Gi"}


def test_overrides_that_no_pod_can_have_are_refused_with_their_names() -> None:
    with pytest.raises(helm_python.HelmError, match=r"memory_request_mib \(8192\) is above memory_limit_mib \(2048\)"):
        render(values(overrides={"memory_request_mib": 8192}))


def test_an_unknown_niche_is_refused_by_name() -> None:
    with pytest.raises(helm_python.HelmError, match='unknown niche "florist"'):
        render(values(niche="florist"))


def test_the_pod_finds_the_texts_of_every_niche_and_language() -> None:
    data = one(render(values()), "ConfigMap")["data"]
    assert data == {name: file.read_text() for name, file in mounted_files().items()}
    niches = {f"{niche}.{locale}.{name}" for niche in NICHES for locale in LOCALES for name in TEXTS}
    assert set(data) == niches | {f"connections.{locale}.md" for locale in LOCALES}


def test_the_pod_is_told_exactly_what_the_entrypoint_reads() -> None:
    told = {entry["name"]: entry.get("value") for entry in container(values())["env"]}
    assert told == {
        "OPENCLAW_BOX_ID": ID,
        "OPENCLAW_CELL": "eu1-a",
        "OPENCLAW_RELEASE": "2026.11.1",
        "OPENCLAW_API_URL": "http://api.platform.example:8000",
        "OPENCLAW_PROXY_URL": "http://proxy.platform.example:8000",
        "OPENCLAW_TELEGRAM_API_URL": "https://telegram.example",
        "OPENCLAW_EXEC": "full",
        "OPENCLAW_DATA_DIR": "/data",
        "OPENCLAW_BOOTSTRAP_DIR": "/etc/openclaw/bootstrap",
        "OPENCLAW_GATEWAY_PORT": "18789",
        "OPENCLAW_AGENT_TOKEN": None,
        "NODE_COMPILE_CACHE": "/opt/openclaw/compile-cache",
        "TMPDIR": "/tmp",
    }


def test_the_browser_proxy_is_named_only_where_there_is_one() -> None:
    told = {entry["name"]: entry.get("value") for entry in container(values(cell={"browser_url": "ws://b:9"}))["env"]}
    assert told["OPENCLAW_BROWSER_PROXY_URL"] == "ws://b:9"


def test_the_agent_token_is_fetched_by_version_into_a_secret_of_that_name() -> None:
    given = values(secrets={"agent": 12, "telegram": 1, "proxy": 1})
    secret = one(render(given), "ExternalSecret")["spec"]
    token = next(entry for entry in container(given)["env"] if entry["name"] == "OPENCLAW_AGENT_TOKEN")
    assert secret["data"][0]["remoteRef"]["key"] == f"boxes/{ID}/agent/12"
    assert token["valueFrom"]["secretKeyRef"] == {"name": secret["target"]["name"], "key": "token"}
    assert secret["target"]["name"] == "agent-v12"
    assert secret["refreshPolicy"] == "CreatedOnce"


def test_there_are_two_waves_and_the_volume_comes_with_the_deployment() -> None:
    def wave(item: Object) -> str:
        return str(item["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", "0"))

    waves = {(item["kind"], wave(item)) for item in render(values())}
    assert {number for _, number in waves} == {"-1", "0"}
    assert {kind for kind, number in waves if number == "0"} == {"PersistentVolumeClaim", "Deployment"}
