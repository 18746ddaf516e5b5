"""Faults act only in tests, where they are armed, as often as they are armed, over all processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.core import failpoints
from controller.core.failpoints import InjectedFault
from controller.core.settings import SettingsError

Arm = Callable[..., Path]


@pytest.fixture
def arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arm]:
    def made(points: str, *, env: str = "test", log: bool = True) -> Path:
        monkeypatch.setenv("FAILPOINTS", points)
        monkeypatch.setenv("APP_ENV", env)
        if log:
            monkeypatch.setenv("FAILPOINT_LOG", str(tmp_path / "hits"))
        failpoints._armed.cache_clear()
        return tmp_path / "hits"

    yield made
    failpoints._armed.cache_clear()


def test_an_unarmed_point_does_nothing(arm: Arm) -> None:
    arm("")
    failpoints.hit("inbox.stored")


@pytest.mark.parametrize("env", ["production", "", "staging"])
def test_arming_outside_a_test_is_refused(arm: Arm, env: str) -> None:
    arm("inbox.stored:raise", env=env)
    with pytest.raises(SettingsError):
        failpoints.hit("inbox.stored")


def test_arming_without_a_place_to_count_is_refused(arm: Arm) -> None:
    arm("inbox.stored:raise", log=False)
    with pytest.raises(SettingsError):
        failpoints.hit("inbox.stored")


@pytest.mark.parametrize("points", ["inbox.stored", "inbox.stored:explode", "inbox.stored:raise:often", "a:raise,,"])
def test_a_malformed_list_of_points_is_refused(arm: Arm, points: str) -> None:
    arm(points)
    with pytest.raises(SettingsError):
        failpoints.hit("anything")


def test_an_armed_point_acts_as_often_as_asked_and_writes_each_hit_down(arm: Arm) -> None:
    hits = arm("a:raise:2,b:raise")
    for name in ("a", "a", "b"):
        with pytest.raises(InjectedFault):
            failpoints.hit(name)
    for name in ("a", "b", "c"):
        failpoints.hit(name)
    assert hits.read_text().split() == ["a", "a", "b"]


def test_hits_are_counted_over_processes_and_kill_is_sigkill(arm: Arm) -> None:
    hits = arm("a:kill:2")
    program = [sys.executable, "-c", "from controller.core import failpoints; failpoints.hit('a')"]
    running = [subprocess.Popen(program) for _ in range(3)]
    codes = sorted(process.wait(30) for process in running)
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert hits.read_text().split() == ["a", "a"]


def test_a_file_arms_and_disarms_a_process_that_runs(arm: Arm, tmp_path: Path) -> None:
    hits = arm(f"@{tmp_path / 'armed'}")
    failpoints.hit("a")
    (tmp_path / "armed").write_text("a:raise:2")
    with pytest.raises(InjectedFault):
        failpoints.hit("a")
    (tmp_path / "armed").write_text("")
    failpoints.hit("a")
    assert hits.read_text().split() == ["a"]
