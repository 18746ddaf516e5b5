"""Which volumes a box has, as its manifest says it: the one in use, one that is kept beside it, one given up last.

A volume that was made from a snapshot is numbered by the rev that asked for it, the first one by 0. The one before it
is kept, whole, until it is given up by name: Argo CD deletes nothing else.
"""

from __future__ import annotations

from typing import Any

from controller.domain.boxes import Box

Volume = dict[str, Any]
"""``rev``, its number, and ``snapshot``, which all but the first are made from."""

_FIRST: Volume = {"rev": 0}


def in_use(box: Box) -> Volume:
    """The volume that the box's pod has, or is to have."""
    return dict((box.volumes or {}).get("used", _FIRST))


def kept(box: Box) -> Volume | None:
    """The volume that was in use before; None if none is kept."""
    return (box.volumes or {}).get("kept")


def bound(box: Box) -> bool:
    """Whether the volume in use is known to be filled: a pod on it was ready."""
    return box.synced_rev >= int(in_use(box)["rev"])


def restored(box: Box, rev: int) -> dict[str, Any]:
    """The box's volumes once ``rev`` has put it on a new one, made from its snapshot, and keeps the one before."""
    gone = {name: number for name, number in (box.volumes or {}).items() if name == "given_up"}
    return {"used": {"rev": rev, "snapshot": box.snapshot}, "kept": in_use(box), **gone}


def given_up(box: Box, former: Volume) -> dict[str, Any]:
    """The box's volumes without ``former``, the kept one, which is gone for good then."""
    return {"used": in_use(box), "given_up": former["rev"]}
