"""A change to a restored box's file: a revert goes back to the kept volume; all else of volumes is the platform's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gitops import remotes
from tests.gitops.checkouts import JOB, PATH, Checkout, content

KEPT = {"release": "2026.11.1", "rev": 1}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "gitops")


def restored(checkout: Checkout) -> None:
    """The platform restored the box, and that is in ``main``."""
    checkout.write(PATH, content(rev=8, snapshot=KEPT))
    checkout.commit(f"box: upgrade\n\n{JOB}")
    made = {"used": {"rev": 9, "snapshot": KEPT}, "kept": {"rev": 0}}
    checkout.write(PATH, content(rev=9, snapshot=KEPT, volumes=made))
    checkout.commit(f"box: restore\n\n{JOB}")
    remotes.git(checkout.folder, "branch", "--force", "main")


def test_a_revert_of_a_restore_passes_and_tells_which_volume_stays(checkout: Checkout) -> None:
    restored(checkout)
    remotes.git(checkout.folder, "revert", "--no-edit", "HEAD")
    result = checkout.run("validate", "--base", "main")
    assert result.exit_code == 0
    assert "so spec.volumes.kept will be that one (volumes)" in result.stdout


@pytest.mark.parametrize(("given_up", "rules"), [(0, []), (5, ["volumes"])])
def test_the_platform_gives_up_no_volume_but_the_kept_one(checkout: Checkout, given_up: int, rules: list[str]) -> None:
    restored(checkout)
    checkout.edit("rev: 9\n  state", "rev: 10\n  state")
    checkout.edit("    kept:\n      rev: 0\n", f"    given_up: {given_up}\n")
    checkout.commit(f"box: discard\n\n{JOB}")
    assert checkout.rules() == rules


@pytest.mark.parametrize(
    ("old", "new"),
    [("    kept:\n      rev: 0\n", ""), ("kept:\n      rev: 0", "given_up: 0"), ("rev: 0", "rev: 5")],
    ids=["left out", "given up", "another"],
)
def test_the_kept_volume_is_not_peoples_to_give_up(checkout: Checkout, old: str, new: str) -> None:
    restored(checkout)
    checkout.edit(old, new)
    assert checkout.run("validate", "--base", "main").exit_code == 1
