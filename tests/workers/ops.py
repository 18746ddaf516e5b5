"""A box that lives in a real repository and a real Postgres, and people who push to the one behind the other's back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from controller.clients.kubernetes import Cluster
from controller.core.db import Database
from controller.domain import boxes
from controller.domain.adoption import OpsCommit
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.lifecycle import Mint
from controller.gitops import manifests
from controller.gitops.manifests import Manifest
from controller.gitops.repository import Repository
from controller.workers import adopting, provisioning
from tests.gitops import remotes


@dataclass(frozen=True)
class Ops:
    """One box and everything around it."""

    database: Database
    remote: Path
    repository: Repository
    cluster: Cluster
    mint: Mint
    box_id: str

    @property
    def path(self) -> str:
        """The box's file."""
        return manifests.path("local", self.box_id)

    async def look(self) -> None:
        """The writer's look at ``main``, and the writing that follows it."""
        await adopting.adopt(self.database, self.repository, self.mint)
        await self.write()

    async def write(self) -> None:
        """The jobs that wait, into Git."""
        await provisioning.write_commits(self.database, self.repository, self.cluster)

    def content(self, path: str = "") -> bytes:
        """A file at the remote's ``main``, byte for byte."""
        return remotes.git(self.remote, "show", f"main:{path or self.path}").encode() + b"\n"

    def manifest(self) -> Manifest:
        """The box as Git has it."""
        return manifests.read(self.content())

    def push(
        self, *edits: tuple[str, str], message: str = "ops: change", files: Mapping[str, bytes] | None = None
    ) -> str:
        """Replace texts in the box's file and push that with other ``files``; the sha."""
        content = self.content()
        for old, new in edits:
            assert old.encode() in content
            content = content.replace(old.encode(), new.encode())
        return remotes.commit(self.remote, {self.path: content, **(files or {})}, message)

    async def box(self) -> Box:
        """The box as Postgres has it."""
        async with self.database.transaction() as session:
            return await boxes.get(session, self.box_id)

    async def jobs(self) -> list[Job]:
        """The box's jobs by rev."""
        async with self.database.transaction() as session:
            return list(await session.scalars(select(Job).where(Job.box_id == self.box_id).order_by(Job.rev)))

    async def told(self, sha: str) -> OpsCommit:
        """What is on record of a commit."""
        async with self.database.transaction() as session:
            return await session.get_one(OpsCommit, sha)

    async def equal(self) -> bool:
        """Whether Postgres and Git say the same of the box."""
        box, manifest = await self.box(), self.manifest()
        spec = manifest.spec.model_dump(mode="json")
        own = manifest.overrides.model_dump(exclude_none=True)
        return spec == boxes.spec(box, spec["connections"]) and own == box.overrides
