"""The state machine of a box, over every pair of states."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.errors import Conflict
from controller.domain import states
from controller.domain.states import Deletion, State

ALLOWED = {
    ("standby", "active"), ("standby", "condemned"), ("active", "suspended"), ("active", "condemned"),
    ("suspended", "active"), ("suspended", "condemned"), ("condemned", "active"), ("condemned", "suspended"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), list(itertools.permutations(State, 2)))
def test_while_deletion_is_held_only_the_listed_steps_are_allowed(old: State, new: State) -> None:
    if (old.value, new.value) in ALLOWED:
        states.check(old, new, Deletion.HELD)
    else:
        with pytest.raises(Conflict):
            states.check(old, new, Deletion.HELD)


@given(st.lists(st.tuples(st.sampled_from(State), st.sampled_from(Deletion)), max_size=30))
def test_no_walk_destroys_a_box_that_was_not_condemned_and_approved(steps: list[tuple[State, Deletion]]) -> None:
    at = State.ACTIVE
    for new, deletion in steps:
        try:
            states.check(at, new, deletion)
        except Conflict:
            continue
        if new == State.DESTROYED and at != new:
            assert (at, deletion) == (State.CONDEMNED, Deletion.APPROVED)
        at = new


@given(st.sampled_from(State), st.sampled_from(Deletion))
def test_nothing_leaves_destroyed(new: State, deletion: Deletion) -> None:
    if new != State.DESTROYED:
        with pytest.raises(Conflict):
            states.check(State.DESTROYED, new, deletion)
