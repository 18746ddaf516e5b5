"""Whether a release is published is asked of the repository itself, whatever it answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.clients.charts import Charts, ChartsAway, ChartSettings, IndexUnreadable
from controller.core.errors import Conflict, Invalid
from controller.sandbox.processes import free_port
from tests.clients import chart_repos
from tests.clients.chart_repos import Repository


@pytest.fixture
def repository() -> Iterator[Repository]:
    with chart_repos.running("2026.9.1", "2026.11.1", "2026.11.12", "2026.11.2") as made:
        yield made


def charts(url: str | None) -> Charts:
    return Charts(ChartSettings(charts_url=url))


async def test_releases_are_listed_the_newest_first(repository: Repository) -> None:
    assert await charts(f"{repository.url}/").releases() == ["2026.11.12", "2026.11.2", "2026.11.1", "2026.9.1"]


async def test_a_release_that_was_just_published_is_known(repository: Repository) -> None:
    asker = charts(repository.url)
    with pytest.raises(Invalid) as refused:
        await asker.check("2026.12.1")
    assert (refused.value.code, refused.value.facts["newest"]) == (
        "release_unknown", "2026.11.12 2026.11.2 2026.11.1 2026.9.1",
    )  # fmt: skip
    repository.releases.append("2026.12.1")
    await asker.check("2026.12.1")


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b"entries: [",
        b"entries: {box: 7}",
        b"entries: {box: [{}]}",
        b"a: &a [*a]\nentries: *a",
        b"\xff",
    ],
)
async def test_what_is_no_index_is_told_as_such(repository: Repository, answer: bytes) -> None:
    repository.answer = answer
    with pytest.raises(IndexUnreadable):
        await charts(repository.url).check("2026.11.1")


async def test_a_repository_without_the_chart_has_no_release(repository: Repository) -> None:
    repository.answer = b"entries: {other: [{version: 2026.11.1}]}"
    with pytest.raises(Invalid):
        await charts(repository.url).check("2026.11.1")


async def test_a_repository_that_is_away_is_no_answer(repository: Repository) -> None:
    repository.status = 503
    for url in (repository.url, f"http://127.0.0.1:{free_port()}"):
        with pytest.raises(ChartsAway):
            await charts(url).check("2026.11.1")


async def test_without_an_address_nobody_can_tell() -> None:
    with pytest.raises(Conflict) as refused:
        await charts(None).check("2026.11.1")
    assert refused.value.code == "charts_url_unset"
