"""A log line is one JSON object, and no secret stands in it however deep it was put."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from controller.core import log

SECRET = "s3cr3t-s3cr3t"


@pytest.fixture
def configured() -> Iterator[None]:
    log.configure("test")
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def written(capsys: pytest.CaptureFixture[str], **facts: Any) -> tuple[str, dict[str, Any]]:
    """The line and its object after logging ``facts``."""
    log.configure("test")
    log.get("unit").info("unit.happened", **facts)
    line = capsys.readouterr().err.strip()
    made: dict[str, Any] = json.loads(line)
    return line, made


@pytest.mark.usefixtures("configured")
def test_a_line_names_process_module_event_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    _, told = written(capsys, box_id="01k")
    assert {"process", "module", "event", "level", "timestamp", "box_id"} == set(told)


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    "facts",
    [
        {"bot_token": SECRET},
        {"Authorization": f"Bearer {SECRET}"},
        {"postgres_dsn": SECRET},
        {"headers": {"authorization": SECRET}},
        {"answers": {"bot": {"token": SECRET}}},
        {"headers": [{"api_key": SECRET}]},
        {"pair": ({"password": SECRET}, 1)},
        {"secrets": {"a": SECRET}},
    ],
    ids=str,
)
def test_secrets_are_masked_at_any_depth(capsys: pytest.CaptureFixture[str], facts: dict[str, Any]) -> None:
    line, _ = written(capsys, **facts)
    assert SECRET not in line
    assert "***" in line


@pytest.mark.usefixtures("configured")
def test_everything_else_stays_and_the_callers_object_is_untouched(capsys: pytest.CaptureFixture[str]) -> None:
    headers = {"authorization": SECRET, "accept": ["a", {"b": 1}]}
    _, told = written(capsys, headers=headers)
    assert told["headers"] == {"authorization": "***", "accept": ["a", {"b": 1}]}
    assert headers["authorization"] == SECRET


@pytest.mark.usefixtures("configured")
def test_numbers_are_no_secrets_whatever_they_are_called(capsys: pytest.CaptureFixture[str]) -> None:
    usage = {"input_tokens": 12, "estimated_tokens": False, "bot_token": SECRET}
    _, told = written(capsys, usage=usage)
    assert told["usage"] == {**usage, "bot_token": "***"}
