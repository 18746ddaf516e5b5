"""A customer's unit: what we want it to be (written to Git) and what we know that it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import CheckConstraint, ForeignKey, Index, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock, ids
from controller.core.db import Base
from controller.core.errors import NotFound
from controller.core.settings import Group
from controller.domain import plans, releases
from controller.domain.states import RUNNING, Deletion, State


class Place(NamedTuple):
    """A box and the cell that it is in, whose cluster alone knows of it."""

    cell: str
    box_id: str


class BoxSettings(Group):
    """Where new boxes go and on which release."""

    cell: str = "local"
    """The cell of new boxes, a folder of the GitOps repository."""

    box_release: str = "2026.11.1"
    """Version of ``charts/box`` for new boxes until a rollout was completed; from then on that one's (``releases``).

    A setting that went on deciding would undo every rollout until somebody also changed it everywhere.
    """

    box_ring: int = 2
    """The ring of new customers: 0 is staff, 1 the canaries."""


class Box(Base):
    """One box. The spec columns are the desired state as of ``rev``; the rest is observed."""

    __tablename__ = "boxes"
    __table_args__ = (
        Index("ix_boxes_condemned", "condemned_at", postgresql_where="state = 'condemned'"),
        Index("ix_boxes_standby", "created_at", postgresql_where="state = 'standby'"),
        Index("ix_boxes_unretired", "id", postgresql_where="state = 'destroyed' AND retired_at IS NULL"),
        CheckConstraint("customer_id IS NOT NULL OR state IN ('standby', 'condemned', 'destroyed')", name="owner"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.new)
    customer_id: Mapped[str | None] = mapped_column(ForeignKey("customers.id"), index=True)
    """Whose it is; None for a standby, and for one that ended without ever having been claimed."""

    cell: Mapped[str]
    rev: Mapped[int]
    state: Mapped[str]
    deletion: Mapped[str] = mapped_column(default=Deletion.HELD.value)
    plan: Mapped[str]
    volume_gib: Mapped[int]
    """The size of its volume. It follows the plan upwards only: Kubernetes refuses to shrink a claim."""

    release: Mapped[str]
    snapshot: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """What is kept of its volume from before its release changed: the ``release`` then, and the change's ``rev``.

    ``volume`` is the number of the volume that it is of, and is not there for the first.
    """

    volumes: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """Its volumes, as its manifest has them (``volumes``); None: the first alone."""

    ring: Mapped[int]
    locale: Mapped[str]
    niche: Mapped[str]
    model: Mapped[str] = mapped_column(default="default")
    thinking: Mapped[str] = mapped_column(default="low")
    profile: Mapped[int] = mapped_column(default=1)
    secret_versions: Mapped[dict[str, Any]]
    overrides: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """What ops want beyond the plan, as its manifest has it; only their commits change it."""

    plan_replaced: Mapped[str | None]
    """The subscription's plan in whose place ops put another by a commit: theirs stands until that one changes."""

    agent_name: Mapped[str]
    telegram_users: Mapped[list[int]]
    suspended_for: Mapped[list[str]] = mapped_column(default=list)
    """Why it is suspended (``payment``, ``admin``, ``stopped_by_admin``): each reason is lifted by whoever set it."""

    condemned_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    """When its file had left Git and its Application the cluster: nothing but rows is left."""

    live_profile: Mapped[int] = mapped_column(default=0)
    """The newest profile whose commit is pushed: commit first, then live."""

    synced_rev: Mapped[int] = mapped_column(default=0)
    """The newest rev that the cluster is known to run."""

    ready_at: Mapped[datetime | None]
    """When the gateway last reported ready with its own token; None from when it was seen to be gone."""

    ready_profile: Mapped[int] = mapped_column(default=0)
    """The newest profile that a ready gateway reported."""

    ready_release: Mapped[str | None]
    """The release whose gateway last reported ready; None as long as none said which it is."""

    ill_since: Mapped[datetime | None]
    """Since when the cluster shows it out of sync or unhealthy, also while a change is under way; None: it is well."""

    illness: Mapped[str | None]
    """What the cluster said then, in its words."""

    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    def runs(self) -> bool:
        """Whether the desired state has a pod."""
        return State(self.state) in RUNNING

    def may_be_in(self, cell: str) -> bool:
        """Whether what ``cell`` shows under the box's name is the box's; an empty one is a cell that nobody named.

        In another cell a file that people put there may have made an Application, which says nothing of the box.
        """
        return cell in ("", self.cell)


async def blank(session: AsyncSession, settings: BoxSettings, plan: str) -> Box:
    """A box of the plan before anybody owns it: a standby at rev 1, in neutral words and without secrets.

    It is on the release in force and not in the session yet.
    """
    return Box(
        cell=settings.cell,
        rev=1,
        state=State.STANDBY.value,
        deletion=Deletion.HELD.value,
        plan=plan,
        volume_gib=plans.get(plan).resources.volume_gib,
        release=await releases.in_force(session, settings.box_ring, settings.box_release),
        ring=settings.box_ring,
        locale="en",
        niche="general",
        model="default",
        thinking="low",
        profile=1,
        secret_versions={},
        agent_name="Claw",
        telegram_users=[],
        suspended_for=[],
    )


async def get(session: AsyncSession, box_id: str, *, lock: bool = False) -> Box:
    """The box, its row locked against other changes for this transaction if ``lock``.

    Raises NotFound if there is none.
    """
    # key_share: rows that only refer to the box, such as usage, are stored meanwhile
    locked = {"key_share": True} if lock else None
    box = await session.get(Box, box_id, with_for_update=locked, populate_existing=lock)
    if box is None:
        raise NotFound("box_unknown", box=box_id[:26])
    return box


async def places(session: AsyncSession, box_ids: Iterable[str]) -> set[Place]:
    """Where each of the boxes is; nothing for an id that no box has."""
    query = select(Box.cell, Box.id).where(Box.id.in_(set(box_ids)))
    return {Place(cell, box_id) for cell, box_id in await session.execute(query)}


async def examined(session: AsyncSession, box_id: str, illness: str | None) -> None:
    """What the cluster says of the box is noted; None: it is well. A look that saw nothing new changes nothing."""
    known = (await session.execute(select(Box.ill_since, Box.illness).where(Box.id == box_id))).one_or_none()
    if known is None or known.illness == illness:
        return
    since = None if illness is None else known.ill_since or clock.now()
    await session.execute(update(Box).where(Box.id == box_id).values(ill_since=since, illness=illness))


def spec(box: Box, connected: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The box's whole desired spec as its manifest has it; ``connected`` as ``connections.in_manifest`` gives it."""
    return {
        "rev": box.rev,
        "state": box.state,
        "deletion": box.deletion,
        "plan": box.plan,
        "volume_gib": box.volume_gib,
        "release": box.release,
        "snapshot": box.snapshot,
        "volumes": box.volumes,
        "ring": box.ring,
        "locale": box.locale,
        "niche": box.niche,
        "model": box.model,
        "thinking": box.thinking,
        "profile": box.profile,
        "secrets": dict(box.secret_versions),
        "connections": list(connected),
    }
