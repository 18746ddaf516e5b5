"""The doors as a whole: what is open to whom, how the process shows its health, and that no request breaks it."""

from __future__ import annotations

import itertools
import json
import urllib.parse
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.core import ids
from tests.api.house import ADMIN_TOKEN, House, bearer, code

OPEN = {"/webhooks/stripe", "/onboarding/drafts", "/onboarding/drafts/{draft_id}", "/healthz", "/readyz", "/metrics"}
VALUES = {
    "provider": "slack", "verb": "suspend", "source": "stripe", "event_id": "evt_1",
    **dict.fromkeys(("box_id", "job_id", "draft_id", "rollout_id"), "0" * 26),
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["\0", "0" * 26, "..", "%00", "9" * 40, "-1", "١"]
)


def quoted(text: str) -> str:
    """``text`` as one segment of a path."""
    return urllib.parse.quote(text, safe="") or "x"


def operations(house: House) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation in the application's own OpenAPI."""
    paths = house.app.openapi()["paths"]
    return [(method, path, told) for path, methods in paths.items() for method, told in methods.items()]


def properties(house: House, told: dict[str, Any]) -> dict[str, Any]:
    """The properties that the operation's JSON body has."""
    content = told.get("requestBody", {}).get("content", {}).get("application/json", {})
    schemas = house.app.openapi()["components"]["schemas"]
    options = [content.get("schema", {}), *content.get("schema", {}).get("anyOf", [])]
    found = [schemas[one["$ref"].rpartition("/")[2]] for one in options if "$ref" in one]
    return found[0].get("properties", {}) if found else {}


@pytest.mark.parametrize("kind", ["none", "empty", "another scheme", "agent", "proxy", "admin", "garbage"])
async def test_every_route_is_shut_to_every_credential_but_its_own(house: House, kind: str) -> None:
    held = await house.box()
    headers = {
        "none": {}, "empty": {"authorization": "Bearer "}, "another scheme": {"authorization": f"Basic {ADMIN_TOKEN}"},
        "agent": bearer(held.agent), "proxy": bearer(held.proxy), "admin": bearer(ADMIN_TOKEN), "garbage": bearer("x"),
    }[kind]  # fmt: skip
    opened = set()
    for method, path, _ in operations(house):
        answer = await house.http.request(method, path.format(**VALUES), headers=headers)
        if answer.status_code != 401:
            opened.add(path)
    audience = {"agent": "/internal/agent/", "admin": "/admin/"}.get(kind, "nobody's")
    assert opened == OPEN | {path for _, path, _ in operations(house) if path.startswith(audience)}


def test_no_route_takes_the_customer_from_a_header(house: House) -> None:
    asked = [told.get("parameters", []) for _, _, told in operations(house)]
    headers = {one["name"].lower() for one in itertools.chain(*asked) if one["in"] in {"header", "cookie"}}
    assert headers <= {"authorization", "stripe-signature"}


async def test_another_customers_name_in_a_header_changes_nothing(house: House) -> None:
    mine, other = await house.box(), await house.box()
    await house.released(mine.id)
    plain = await house.http.get("/internal/agent/profile", headers=bearer(mine.agent))
    posed = {**bearer(mine.agent), "x-customer-id": other.id, "x-box-id": other.id}
    assert (await house.http.get("/internal/agent/profile", headers=posed)).json() == plain.json()


async def test_a_process_with_all_its_parts_is_alive_and_ready(house: House) -> None:
    answers = [await house.http.get(path) for path in ("/healthz", "/readyz")]
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "ok"), (200, "ready")]


async def test_without_postgres_it_is_alive_and_not_ready(house_without_postgres: House) -> None:
    assert (await house_without_postgres.http.get("/healthz")).status_code == 200
    answer = await house_without_postgres.http.get("/readyz")
    assert (answer.status_code, code(answer)) == (503, "database_away")


async def test_metrics_name_the_route_and_not_what_stood_in_it(house: House) -> None:
    box_id = ids.new()
    await house.http.get(f"/onboarding/drafts/{box_id}")
    told = (await house.http.get("/metrics")).text
    assert 'api_requests_total{method="GET",route="/onboarding/drafts/{draft_id}",status="404"} 1.0' in told
    assert box_id not in told


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/admin/jobs/x/retry", 405), ("/admin", 404)])
async def test_a_route_that_is_not_there_is_told_in_our_form(idle: House, path: str, status: int) -> None:
    answer = await idle.http.get(path)
    assert (answer.status_code, bool(code(answer))) == (status, True)


@pytest.mark.parametrize("index", range(18))
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_no_request_ends_in_a_fault_of_ours(house: House, index: int, data: st.DataObject) -> None:
    listed = operations(house)
    method, path, told = listed[index % len(listed)]
    names = [one["name"] for one in told.get("parameters", []) if one["in"] == "query"]
    query = {name: data.draw(TEXT) for name in names if name != "wait"}
    filled = path.format(**{name: data.draw(st.just(value) | TEXT.map(quoted)) for name, value in VALUES.items()})
    known = dict.fromkeys(properties(house, told), JSON)
    body = data.draw(st.fixed_dictionaries({}, optional=known) | JSON)
    answer = await house.http.request(
        method, filled, params=query, headers=bearer(ADMIN_TOKEN), content=json.dumps(body)
    )
    assert answer.status_code < 500, answer.text
