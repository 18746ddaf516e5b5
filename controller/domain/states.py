"""The life of a box as a state machine: pure, shared by the database, Git and the chart."""

from __future__ import annotations

from enum import StrEnum

from controller.core.errors import Conflict


class State(StrEnum):
    """What Git says about a box.

    standby: booted and owned by nobody, until a purchase claims it · active: runs · suspended: no pod, all kept ·
    condemned: no pod, tokens revoked, data kept until the retention ends · destroyed: nothing left but the file.
    """

    STANDBY = "standby"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CONDEMNED = "condemned"
    DESTROYED = "destroyed"


class Deletion(StrEnum):
    """Whether the cluster may delete a condemned box's namespace and volume."""

    HELD = "held"
    APPROVED = "approved"


_NEXT: dict[State, frozenset[State]] = {
    State.STANDBY: frozenset({State.ACTIVE, State.CONDEMNED}),
    State.ACTIVE: frozenset({State.SUSPENDED, State.CONDEMNED}),
    State.SUSPENDED: frozenset({State.ACTIVE, State.CONDEMNED}),
    State.CONDEMNED: frozenset({State.ACTIVE, State.SUSPENDED, State.DESTROYED}),
    State.DESTROYED: frozenset(),
}

RUNNING = frozenset({State.STANDBY, State.ACTIVE})
"""The states that have a pod."""


def check(old: State, new: State, deletion: Deletion) -> None:
    """Return if a box may go from ``old`` to ``new``; staying is always allowed.

    ``deletion`` is what Git says before the step. Raises Conflict for a step that the machine does not
    have: destroying needs an approved deletion, and an approved deletion allows nothing else.
    """
    if old == new:
        return
    approved = deletion == Deletion.APPROVED
    if new not in _NEXT[old] or approved != (new == State.DESTROYED):
        raise Conflict("state_transition", old=old.value, new=new.value, deletion=deletion.value)


def decides(old: State, new: State) -> bool:
    """Whether a step from ``old`` to ``new`` may approve a deletion or take that back: while a box stays condemned."""
    return old == new == State.CONDEMNED
