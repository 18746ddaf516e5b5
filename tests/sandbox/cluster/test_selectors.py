from __future__ import annotations

import pytest

from controller.core.errors import Invalid
from controller.sandbox.cluster import selectors

RED = {
    "metadata": {"name": "one", "labels": {"colour": "red", "openclaw.cloud/state": ""}},
    "status": {"phase": "Running"},
}
BARE = {"metadata": {"name": "two", "namespace": "here"}}


@pytest.mark.parametrize(
    ("text", "red", "bare"),
    [
        ("", True, True),
        ("colour=red", True, False),
        ("colour==red", True, False),
        ("colour = red", True, False),
        ("colour!=red", False, True),
        ("colour", True, False),
        ("!colour", False, True),
        ("colour in (red, blue)", True, False),
        ("colour notin (red,blue)", False, True),
        ("colour in (blue)", False, False),
        ("openclaw.cloud/state=", True, False),
        ("colour=red,size", False, False),
        ("colour in (red,blue),!size", True, False),
    ],
)
def test_a_label_selector_takes_what_kubernetes_would_take(text: str, red: bool, bare: bool) -> None:
    selected = selectors.labels(text)
    assert (selected(RED), selected(BARE)) == (red, bare)


@pytest.mark.parametrize(
    ("text", "red", "bare"),
    [
        ("", True, True),
        ("metadata.name=one", True, False),
        ("metadata.namespace=here", False, True),
        ("status.phase=Running", True, False),
        ("status.phase!=Running", False, True),
        ("metadata.name=two,status.phase=", False, True),
    ],
)
def test_a_field_selector_takes_what_kubernetes_would_take(text: str, red: bool, bare: bool) -> None:
    selected = selectors.fields(text)
    assert (selected(RED), selected(BARE)) == (red, bare)


@pytest.mark.parametrize("text", ["a=b=c", "a in red", "in (a)", "a in (b", "a>1"])
def test_a_malformed_label_selector_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="selector_malformed"):
        selectors.labels(text)


@pytest.mark.parametrize("text", ["spec.replicas=1", "metadata.name", "metadata.labels.a=b"])
def test_a_field_that_an_api_server_would_not_select_by_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="field_selector_unknown"):
        selectors.fields(text)
